"""Settings of the metrics, of an evaluation and of a figure that compares methods."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bimacosr.config.upscale import UpscaleSettings
from bimacosr.errors import OptionError

__all__ = ["EvaluateSettings", "FigureSettings", "MetricSettings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSettings:
    """What every metric is loaded with."""

    weights_dir: Path | None = None
    """Directory of the weight files; None: BIMACOSR_METRIC_WEIGHTS, else there are none."""

    device: str = "cpu"
    """Where PyTorch computes: cpu, cuda, cuda:1... Figures differ between devices by rounding."""

    border_px: int = 0
    """Pixels left out at each edge by PSNR and SSIM, 0 to 1024; the others see whole pictures."""

    def __post_init__(self) -> None:
        if not 0 <= self.border_px <= 1024:
            raise OptionError(f"the border is {self.border_px} pixels; it must be from 0 to 1024")

    @property
    def weights(self) -> Path | None:
        """The directory of the weight files, if one is named here or in the environment."""
        named = os.environ.get("BIMACOSR_METRIC_WEIGHTS")
        return self.weights_dir or (Path(named) if named else None)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateSettings:
    """What is measured, with how many workers."""

    metrics: tuple[str, ...] | None = None
    """Names; None: psnr, ssim, lpips and niqe, as far as there are originals and weights."""

    metric: MetricSettings = MetricSettings()
    """What they are loaded with."""

    workers: int = 0
    """Pictures measured at a time, 0 to 1024; 0: BIMACOSR_THREADS, else one a processor. It
    changes no figure."""

    def __post_init__(self) -> None:
        if not 0 <= self.workers <= 1024:
            raise OptionError(f"workers is {self.workers}; it must be from 0 (all) to 1024")
        if self.metrics is not None and not self.metrics:
            raise OptionError("no metric is named; leave --metrics out to have the usual ones")

    @property
    def threads(self) -> int:
        """Number of workers, at least 1."""
        return UpscaleSettings(threads=self.workers).workers


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureSettings:
    """How a figure is laid out."""

    region: tuple[int, int, int, int] | None = None
    """What the crops show: left, top, width and height, pixels of the original; None: chosen where
    the methods differ most on detail."""

    region_px: int = 96
    """Side of a chosen region, 16 to 1024 pixels of the original."""

    rows: int = 2
    """Rows of crops beside a picture, 1 to 8."""

    width_in: float = 10.0
    """Width of the figure, 2 to 40 inches."""

    dpi: int = 200
    """Dots an inch of a PNG, 50 to 1200; a PDF holds the pictures' own pixels and text as text."""

    def __post_init__(self) -> None:
        if self.region is not None and not (
            min(self.region[:2]) >= 0 and 8 <= min(self.region[2:]) <= max(self.region[2:]) <= 4096
        ):
            raise OptionError(
                f"the region is {','.join(map(str, self.region))}; X and Y must be 0 or more, and "
                "the sides from 8 to 4096 pixels"
            )
        for name, least, most in (
            ("region_px", 16, 1024),
            ("rows", 1, 8),
            ("width_in", 2, 40),
            ("dpi", 50, 1200),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise OptionError(f"{name} is {value}; it must be from {least} to {most}")
