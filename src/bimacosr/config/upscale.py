"""Settings of one enlargement."""

from __future__ import annotations

import os
from dataclasses import dataclass
from numbers import Integral, Real

from bimacosr.errors import OptionError

__all__ = ["UpscaleSettings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class UpscaleSettings:
    """How a picture is enlarged; the picture's own format has settings of its own."""

    seed: int = 0
    """Seed of the noise, 0 to 2^64 - 1; a model without noise gives one picture for all seeds."""

    tile: int = 128
    """Side of a tile's core in pixels of the input, 16 to 4096. Smaller needs less memory."""

    threads: int = 0
    """Tiles worked on at a time; 0 takes one a processor. It never changes the picture."""

    scale: float | None = None
    """Enlargement, more than 0 up to 16; None is the model's own. Others are resampled from it."""

    width: int | None = None
    """Width of the result in pixels; alone, the height follows."""

    height: int | None = None
    """Height of the result in pixels; alone, the width follows."""

    def __post_init__(self) -> None:
        for name in ("seed", "tile", "threads", "width", "height"):
            value = getattr(self, name)
            optional = name in ("width", "height") and value is None
            if not optional and (isinstance(value, bool) or not isinstance(value, Integral)):
                raise OptionError(f"{name} is {value!r}; it must be a whole number")
        if isinstance(self.scale, bool) or not isinstance(self.scale, Real | None):
            raise OptionError(f"scale is {self.scale!r}; it must be a number")
        if not 0 <= self.seed < 2**64:
            raise OptionError(f"seed is {self.seed}; it must be from 0 to 2^64 - 1")
        if not 16 <= self.tile <= 4096:
            raise OptionError(f"tile is {self.tile} pixels; it must be from 16 to 4096")
        if not 0 <= self.threads <= 1024:
            raise OptionError(f"threads is {self.threads}; it must be from 0 (all) to 1024")
        if self.scale is not None and not 0 < self.scale <= 16:
            raise OptionError(f"scale is {self.scale}; it must be more than 0 and at most 16")
        if self.scale is not None and (self.width or self.height):
            raise OptionError("give either a scale or a width and height, not both")
        for name in ("width", "height"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} is {value} pixels; it must be at least 1")

    @property
    def workers(self) -> int:
        """Number of threads, at least 1."""
        if self.threads:
            return self.threads
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1

    def target_size(self, height: int, width: int, native: int) -> tuple[int, int]:
        """Height and width of the result for an input of that size and a model of that scale."""
        if self.width is None and self.height is None:
            scale = native if self.scale is None else self.scale
            return max(1, round(height * scale)), max(1, round(width * scale))
        if self.width is None:
            assert self.height is not None
            return self.height, max(1, round(width * self.height / height))
        if self.height is None:
            return max(1, round(height * self.width / width)), self.width
        return self.height, self.width
