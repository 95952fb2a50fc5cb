"""Settings of the edge family: the small network that works in pixel-shuffle space."""

from __future__ import annotations

from dataclasses import dataclass

from bimacosr.errors import OptionError

__all__ = ["EdgeSettings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EdgeSettings:
    """Shape of an `EdgeNet`; it is stored in the packed model."""

    channels: int = 64
    """Width of the body, 8 to 1024; a multiple of 64 suits the 1-bit engine best."""

    blocks: int = 12
    """Number of residual blocks, each with one 3x3 convolution; 1 to 256."""

    scale: int = 4
    """Enlargement, 2 to 8; the latent has 3 scale^2 channels."""

    def __post_init__(self) -> None:
        for name, least, most in (("channels", 8, 1024), ("blocks", 1, 256), ("scale", 2, 8)):
            if not least <= getattr(self, name) <= most:
                value = getattr(self, name)
                raise OptionError(f"{name} is {value}; it must be from {least} to {most}")

    @property
    def receptive_radius(self) -> int:
        """How many low-quality pixels away an output pixel can still see, bicubic included."""
        return self.blocks + 2 + 2
