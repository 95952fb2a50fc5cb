"""Settings of one enlargement, and of how the paper family's networks sample."""

from __future__ import annotations

import os
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, get_args

from bimacosr.errors import OptionError

__all__ = ["Precision", "SamplerName", "SamplingSettings", "TilingName", "UpscaleSettings"]

SamplerName = Literal["one_step", "ancestral", "deterministic"]
"""Names of `bimacosr.diffusion.samplers`; the deterministic one is officially called ddim."""

Precision = Literal["fp32", "bf16"]
"""What products are made of."""

TilingName = Literal["feathered", "official"]
"""Ours, with ramps and noise by place, or that of the official scripts with their noise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UpscaleSettings:
    """How a picture is enlarged; the picture's own format has settings of its own."""

    seed: int = 0
    """Seed of the noise, 0 to 2^64 - 1; a model without noise gives one picture for all seeds."""

    tile: int | None = None
    """Side of a tile's core in pixels of the input, 16 to 4096; None is the model's own (128 of
    the models in the package). Smaller needs less memory."""

    threads: int = 0
    """Threads at work; 0 takes one a processor. It never changes a packed model's picture."""

    scale: float | None = None
    """Enlargement, more than 0 up to 16; None is the model's own. Others are resampled from it."""

    width: int | None = None
    """Width of the result in pixels; alone, the height follows."""

    height: int | None = None
    """Height of the result in pixels; alone, the width follows."""

    def __post_init__(self) -> None:
        for name in ("seed", "tile", "threads", "width", "height"):
            value = getattr(self, name)
            optional = name in ("tile", "width", "height") and value is None
            if not optional and (isinstance(value, bool) or not isinstance(value, Integral)):
                raise OptionError(f"{name} is {value!r}; it must be a whole number")
        if isinstance(self.scale, bool) or not isinstance(self.scale, Real | None):
            raise OptionError(f"scale is {self.scale!r}; it must be a number")
        if not 0 <= self.seed < 2**64:
            raise OptionError(f"seed is {self.seed}; it must be from 0 to 2^64 - 1")
        if self.tile is not None and not 16 <= self.tile <= 4096:
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
        """Number of threads, at least 1: `threads`, else BIMACOSR_THREADS, else processors."""
        if self.threads:
            return self.threads
        wish = os.environ.get("BIMACOSR_THREADS", "")
        if wish:
            if not wish.isdecimal() or not 1 <= int(wish) <= 1024:
                raise OptionError(f"BIMACOSR_THREADS is {wish!r}; it must be from 1 to 1024")
            return int(wish)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingSettings:
    """How weights of the paper family sample, and how pictures are cut for them."""

    steps: int | None = None
    """How often the network is asked, 1 to the length of its chain; None: the whole chain, but
    where weights are known to be made for one step and no sampler of many steps is given, 1."""

    sampler: SamplerName | None = None
    """None: one_step where `steps` is 1, else ancestral."""

    chain_steps: int | None = None
    """Length of the chain that the weights were trained on, 2 to 10000; None: as the configuration
    says, or 15."""

    tiling: TilingName = "feathered"
    """How pictures are cut, and where noise comes from."""

    chop_size: int = 256
    """Side of what the network sees at a time, pixels of the input, 64 to 4096."""

    autoencoder_precision: Precision = "fp32"
    """Of the autoencoder: fp32 gives the official numerics; bf16 is several times faster on
    processors with AMX, and the picture nearly the same."""

    def __post_init__(self) -> None:
        for name in ("steps", "chain_steps", "chop_size"):
            value = getattr(self, name)
            optional = name != "chop_size" and value is None
            if not optional and (isinstance(value, bool) or not isinstance(value, Integral)):
                raise OptionError(f"{name} is {value!r}; it must be a whole number")
        choices = {
            "sampler": SamplerName,
            "tiling": TilingName,
            "autoencoder_precision": Precision,
        }
        for name, names in choices.items():
            value, known = getattr(self, name), get_args(names)
            if value not in known and not (name == "sampler" and value is None):
                raise OptionError(f"{name} is {value!r}; it must be one of {', '.join(known)}")
        if self.steps is not None and self.steps < 1:
            raise OptionError(f"steps is {self.steps}; it must be at least 1")
        if self.sampler == "one_step" and self.steps not in (None, 1):
            raise OptionError(f"steps is {self.steps}, but the sampler one_step takes 1")
        if self.chain_steps is not None and not 2 <= self.chain_steps <= 10_000:
            raise OptionError(f"chain_steps is {self.chain_steps}; it must be from 2 to 10000")
        if not 64 <= self.chop_size <= 4096:
            raise OptionError(f"chop_size is {self.chop_size} pixels; it must be from 64 to 4096")
