"""Settings of the training pictures: where they are, how pairs are made of them, what is kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from bimacosr.config.degradation import (
    DegradationSettings,
    camera_x4,
    mild_x4,
    realesrgan_x4,
)
from bimacosr.config.picture import PictureLimits
from bimacosr.errors import OptionError

__all__ = ["KINDS", "DataSettings", "LowQualitySettings", "PrepareSettings", "low_quality"]

KINDS = ("realesrgan", "mild", "camera", "mixed", "light", "bicubic")
"""The ways to make a low-quality half that have a name; see `low_quality`."""

_MIXED = (0.6, 0.4)
_LIGHT = (0.55, 0.35, 0.1)


@dataclass(frozen=True, kw_only=True, slots=True)
class LowQualitySettings:
    """How the low-quality half of a pair is made of the clean one."""

    chains: tuple[DegradationSettings, ...] = field(default_factory=lambda: (realesrgan_x4(),))
    """Degradations to choose from, one a picture; none: a bicubic reduction alone."""

    shares: tuple[float, ...] = (1.0,)
    """How often each chain is chosen, relative to the others; above 0."""

    scale: int = 4
    """How much smaller the low-quality half is; every chain has the same."""

    sharpen: bool = False
    """Sharpen the clean picture first: the sharp one is target and source (`use_sharp`)."""

    resize_back: bool = False
    """Enlarge the low-quality half to the size of the clean one again, bicubic."""

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise OptionError(f"scale is {self.scale}; it must be at least 1")
        if any(chain.scale != self.scale for chain in self.chains):
            raise OptionError(f"a degradation has another scale than {self.scale}, the pair's")
        if self.chains and len(self.shares) != len(self.chains):
            raise OptionError(
                f"there are {len(self.chains)} degradations but {len(self.shares)} shares; each "
                "needs one"
            )
        if any(not share > 0 for share in self.shares):
            raise OptionError(f"shares are {self.shares}; each must be above 0")


def low_quality(kind: str, scale: int = 4) -> LowQualitySettings:
    """The settings of that name.

    Args:
        kind: "realesrgan" (the heavy chain of the paper family), "mild" (less noise and
            compression), "camera" (one order of little blur and noise), "mixed" (60 % mild, 40 %
            heavy), "light" (55 % camera, 35 % mild, 10 % heavy) or "bicubic". The shipped model
            learned from the two mixtures.
        scale: How much smaller the low-quality half is.

    Raises:
        OptionError: there is no such kind, or the scale is below 1.
    """
    if kind not in KINDS:
        raise OptionError(f"the kind of degradation is {kind!r}; choose from {', '.join(KINDS)}")
    heavy, mild, camera = (
        replace(chain, scale=scale) for chain in (realesrgan_x4(), mild_x4(), camera_x4())
    )
    ways: dict[str, tuple[tuple[DegradationSettings, ...], tuple[float, ...]]] = {
        "realesrgan": ((heavy,), (1.0,)),
        "mild": ((mild,), (1.0,)),
        "camera": ((camera,), (1.0,)),
        "mixed": ((mild, heavy), _MIXED),
        "light": ((camera, mild, heavy), _LIGHT),
        "bicubic": ((), ()),
    }
    chains, shares = ways[kind]
    return LowQualitySettings(chains=chains, shares=shares, scale=scale)


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSettings:
    """What `TrainingPairs` gives."""

    sources: tuple[Path, ...]
    """Folders of clean pictures, searched with all below them (of one that `bimacosr data prepare`
    made, its `train/` alone), pictures, and text files that name one picture a line."""

    patch: int = 32
    """Side of the low-quality patch, low-quality pixels; the target is `scale` times as large."""

    low_quality: LowQualitySettings = field(default_factory=LowQualitySettings)
    """How the low-quality half is made."""

    square_px: int | None = None
    """Side of the clean square that is degraded, from which the patch is then cut (officially
    `crop_pad_size`); a multiple of the scale is taken. None: the target and 16 pixels around it,
    so that it shows no border of the blur. Not with `cache`, where whole pictures are degraded."""

    rescale: bool = False
    """Instead, take the largest square and reduce it to the target's size (`rescale_gt`). Not with
    `cache`."""

    flip: bool = True
    """Mirror every second patch."""

    turn: bool = True
    """Turn patches by a random number of right angles."""

    cache: Path | None = None
    """Folder that keeps degraded pairs, made once; None: each sample is degraded anew."""

    variants: int = 4
    """Low-quality versions of each picture in the cache, at least 1."""

    memory_mb: int = 1024
    """Decoded pictures that are held in memory without a cache, MB; the first that fit stay."""

    seed: int = 0
    """With the number of a sample it decides everything about it."""

    limits: PictureLimits = field(default_factory=PictureLimits)
    """What a picture may measure."""

    def __post_init__(self) -> None:
        for name in ("patch", "variants"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.square_px is not None and self.square_px < self.target_px:
            raise OptionError(
                f"square_px is {self.square_px}; it must be at least the target's side, "
                f"{self.target_px}"
            )
        if self.cache is not None and (self.square_px is not None or self.rescale):
            raise OptionError(
                "the cache keeps pairs of whole pictures: leave out square_px and rescale, or the "
                "cache"
            )

    @property
    def target_px(self) -> int:
        """Side of the clean patch, pixels."""
        return self.patch * self.low_quality.scale


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareSettings:
    """How photographs become training crops; the defaults are measured in `docs/data.md`."""

    size_px: int = 288
    """Side of a crop, pixels, at least 64: officially the target's 256, and 16 around it."""

    stride_px: int = 288
    """From one crop to the next, pixels, at least 1; below the size they overlap."""

    reduce: float = 1.0
    """Reduce photos by this factor first, 1 and above: 2 removes most traces of camera and JPEG."""

    min_sharpness: float = 1.3
    """Crops below are blurry and left out, 0 and above (`data.crops.sharpness`)."""

    max_flat: float = 0.6
    """Crops of which a larger share is flat are left out, 0 to 1 (`data.crops.flat_share`)."""

    same_bits: int = 12
    """Crops or photos whose hashes of 128 bits differ in so many or fewer are the same one."""

    per_photo: int = 0
    """Crops of a photo at most, the sharpest; 0: all."""

    val_share: float = 0.05
    """Share of the photos that is kept for validation, 0 to 0.9; of each the sharpest crop."""

    low_quality: LowQualitySettings = field(default_factory=LowQualitySettings)
    """How the low-quality half of a validation pair is made."""

    seed: int = 0
    """Decides which photos are for validation, and their degradation."""

    def __post_init__(self) -> None:
        ranges = {
            "size_px": (64, 4096),
            "stride_px": (1, 2**20),
            "reduce": (1, 64),
            "min_sharpness": (0, 5),
            "max_flat": (0, 1),
            "same_bits": (0, 64),
            "per_photo": (0, 2**20),
            "val_share": (0, 0.9),
        }
        for name, (least, most) in ranges.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise OptionError(f"{name} is {value}; it must be from {least} to {most}")
        if self.size_px % self.low_quality.scale:
            raise OptionError(
                f"size_px is {self.size_px}; it must be a multiple of the scale, "
                f"{self.low_quality.scale}"
            )
