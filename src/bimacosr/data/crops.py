"""Crops of a photograph, and what tells whether a network can learn from them.

Shapes: H height, W width (HWC, RGB, uint8); luma HW of the same range as float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from bimacosr.config.data import PrepareSettings
from bimacosr.data.photos import Pixels
from bimacosr.io.color import to_grey

__all__ = ["Crop", "crops_of", "flat_share", "likeness", "luma", "places", "sharpness"]

Luma = npt.NDArray[np.float32]

_BLOCK_PX = 16
_FLAT_DEVIATION = 3.0  # of 255
_HASH_SIDE = 8


@dataclass(frozen=True, slots=True)
class Crop:
    """A square of a photograph that is worth learning from."""

    top: int
    """First row in the photo, after it was reduced."""

    left: int
    """First column."""

    pixels: Pixels
    """size x size x 3."""

    sharpness: float
    """As `sharpness` has it."""

    flat_share: float
    """As `flat_share` has it."""

    likeness: int
    """As `likeness` has it."""


def crops_of(pixels: Pixels, settings: PrepareSettings) -> tuple[list[Crop], int, int]:
    """The crops of a photo that are neither flat nor blurry.

    Args:
        pixels: The photo, already reduced.
        settings: Size, places and thresholds.

    Returns:
        The crops in reading order, or with `per_photo` the sharpest, in that order; how many were
        flat; how many were blurry.
    """
    good: list[Crop] = []
    flat = blurry = 0
    size = settings.size_px
    for top, left in places(pixels.shape[0], pixels.shape[1], size, settings.stride_px):
        square = np.ascontiguousarray(pixels[top : top + size, left : left + size])
        grey = luma(square)
        share, sharp = flat_share(grey), sharpness(grey)
        if share > settings.max_flat:
            flat += 1
        elif sharp < settings.min_sharpness:
            blurry += 1
        else:
            good.append(Crop(top, left, square, sharp, share, likeness(square)))
    if settings.per_photo:
        good = sorted(good, key=lambda crop: -crop.sharpness)[: settings.per_photo]
    return good, flat, blurry


def places(height: int, width: int, size: int, stride: int) -> Iterator[tuple[int, int]]:
    """Top left corners of squares that lie `stride` apart, in the middle of the photo."""
    firsts = []
    for side in (height, width):
        steps = (side - size) // stride
        start = (side - size - steps * stride) // 2
        firsts.append(range(start, start + steps * stride + 1, stride) if steps >= 0 else range(0))
    return ((top, left) for top in firsts[0] for left in firsts[1])


def luma(pixels: Pixels) -> Luma:
    """Luma of RGB pixels (BT.601), float32 of [0, 255]."""
    return to_grey(pixels)[..., 0].astype(np.float32)


def sharpness(grey: Luma) -> float:
    """Root mean square of the Laplacian over that of the gradient: how fine the detail is.

    It does not depend on contrast or brightness. A ramp gives 0, white noise 4.5; a crop from a
    sharp photo about 2, the same crop under a Gaussian blur of 1 pixel about 1. Noise counts as
    detail.
    """
    middle = grey[1:-1, 1:-1]
    above, below, left, right = grey[:-2, 1:-1], grey[2:, 1:-1], grey[1:-1, :-2], grey[1:-1, 2:]
    laplacian = 4 * middle - above - below - left - right
    gradient = ((below - above) ** 2 + (right - left) ** 2) / 4
    power = float(gradient.mean(dtype=np.float64))
    if power == 0:
        return 0.0
    return float(np.sqrt((laplacian**2).mean(dtype=np.float64) / power))


def flat_share(grey: Luma) -> float:
    """Share of the blocks of 16 x 16 pixels whose standard deviation is below 3 of 255."""
    height, width = (side // _BLOCK_PX for side in grey.shape)
    whole = grey[: height * _BLOCK_PX, : width * _BLOCK_PX]
    blocks = whole.reshape(height, _BLOCK_PX, width, _BLOCK_PX)
    return float((blocks.std(axis=(1, 3)) < _FLAT_DEVIATION).mean())


def likeness(pixels: Pixels) -> int:
    """A difference hash of 128 bits: copies in another size or quality differ in few of them.

    Each bit tells whether luma rises, to the right or downwards, between the means of
    neighbouring fields of a 9 x 9 grid.
    """
    side = _HASH_SIDE + 1
    fields = luma(np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)))
    rising = (fields[:-1, 1:] > fields[:-1, :-1], fields[1:, :-1] > fields[:-1, :-1])
    return int.from_bytes(np.packbits(np.stack(rising)).tobytes(), "big")
