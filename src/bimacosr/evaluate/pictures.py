"""Pictures as the metrics take them, and what makes them.

Shapes: a picture is HxWx3 RGB uint8; a batch is 13HW float32 in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bimacosr.config.picture import PictureLimits
from bimacosr.errors import BackendError, PictureError
from bimacosr.io.color import convert_depth, to_rgb
from bimacosr.io.failures import shown
from bimacosr.io.picture import read_picture

__all__ = [
    "BICUBIC",
    "SCALE",
    "Method",
    "Picture",
    "bicubic_of",
    "check_device",
    "check_sizes",
    "enlarge_bicubic",
    "read_rgb",
    "results_in",
    "to_batch",
]

Picture = NDArray[np.uint8]

SCALE = 4
"""Enlargement of bicubic results."""

BICUBIC = "bicubic"
"""Name of the method that others are compared with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """What makes one picture of each name."""

    make: Callable[[str], Picture]
    """From a name in `names` to the picture."""
    names: Collection[str]
    """What it can make."""
    files: Mapping[str, Path] | None = None
    """Where its pictures lie, if they are files."""


def results_in(files: Mapping[str, Path]) -> Method:
    """The method whose pictures are these files."""
    return Method(make=lambda name: read_rgb(files[name]), names=files.keys(), files=files)


def bicubic_of(files: Mapping[str, Path]) -> Method:
    """Pillow's bicubic x4 of these small pictures."""
    return Method(make=lambda name: enlarge_bicubic(read_rgb(files[name])), names=files.keys())


def read_rgb(path: Path) -> Picture:
    """Read a file as 8-bit RGB, upright: 16 bits are rounded, alpha and profiles are not used.

    Raises:
        ReadError: it is missing, damaged, or no picture.
        LimitError: it has more pixels than a picture may have.
    """
    pixels: Picture = to_rgb(convert_depth(read_picture(path, PictureLimits()).pixels, np.uint8))
    return pixels


def enlarge_bicubic(lq: Picture) -> Picture:
    """Pillow's bicubic x4."""
    height, width = lq.shape[:2]
    size = (width * SCALE, height * SCALE)
    return np.asarray(Image.fromarray(lq).resize(size, Image.Resampling.BICUBIC))


def to_batch(picture: Picture, device: str = "cpu") -> Tensor:
    """Give a picture as a batch of one."""
    pixels = torch.tensor(picture).to(device)  # copied: arrays of Pillow may not be written
    return pixels.permute(2, 0, 1)[None].float() / 255


def check_sizes(sr: Picture, other: Picture, name: str, method: str, what: str) -> None:
    """Refuse a result of another size than `other`, which is called `what`.

    Raises:
        PictureError: "a by sinsr is 512x512, its original 500x512; they must be of one size"
    """
    if sr.shape != other.shape:
        sizes = [f"{picture.shape[1]}x{picture.shape[0]}" for picture in (sr, other)]
        raise PictureError(
            f"{shown(name)} by {shown(method)} is {sizes[0]}, {what} {sizes[1]}; they must be of "
            "one size"
        )


def check_device(device: str) -> None:
    """Refuse a device that is not there, or that lacks float64.

    Raises:
        BackendError: "there is no device 'cuda' here (...); use --device cpu"
    """
    try:
        torch.zeros(1, dtype=torch.float64, device=device).add(1)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        said = str(error).split("\n")[0][:120]
        raise BackendError(
            f"the metrics cannot use the device {device!r} ({said}); use --device cpu"
        ) from error
