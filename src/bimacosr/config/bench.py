"""Settings of the benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bimacosr.errors import OptionError

__all__ = ["BenchSettings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchSettings:
    """What is measured, and for how long."""

    model: str | None = None
    """A model's name or file; None: the official student for layers and unet, VQ-f4 for
    autoencoder, the default model for pipeline."""

    autoencoder: str | None = None
    """First stage of a packed student, for pipeline; a release's name or a file. None: the released
    VQ-f4."""

    height: int | None = None
    """Of the low-quality picture, or of the latent; None: 128 for pipeline, else 64."""

    width: int | None = None
    """Of the same."""

    threads: int = 1
    """Threads that every contestant may use, 1 to 1024. Times are processor time with one, which
    other work on the machine disturbs little, and wall time with more."""

    isa: str | None = None
    """Instruction set of our engine; None: BIMACOSR_ISA, else the best of the machine."""

    rounds: int = 9
    """Rounds in each of which everybody runs once, 1 to 1000."""

    budget_s: float = 60.0
    """Wall seconds after which a contestant sits out the remaining rounds, above 0."""

    peers: tuple[str, ...] | None = None
    """Who may take part; None: everybody who is installed."""

    peers_dir: Path | None = None
    """Folder with the models of Real-ESRGAN for ncnn."""

    memory: bool = True
    """Also run everybody once in a process of its own, for its peak memory."""

    def __post_init__(self) -> None:
        for name, most in {"threads": 1024, "rounds": 1000}.items():
            if not 1 <= getattr(self, name) <= most:
                raise OptionError(f"{name} is {getattr(self, name)}; it must be from 1 to {most}")
        for name in ("height", "width"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= 4096:
                raise OptionError(f"{name} is {value}; it must be from 1 to 4096")
        if not self.budget_s > 0:
            raise OptionError(f"budget_s is {self.budget_s}; it must be above 0")
