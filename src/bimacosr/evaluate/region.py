"""Where to look: the region of a picture on which methods differ most, and which has detail.

Shapes: H height, W width; pictures are HxWx3 RGB uint8, maps HW float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bimacosr.errors import OptionError
from bimacosr.evaluate.pictures import Picture

__all__ = ["Region", "check_region", "crop", "find_region"]

_GRAY = np.array([0.299, 0.587, 0.114])
_STEP_PX = 4  # regions begin at multiples of it

Map = NDArray[np.float64]


class Region(NamedTuple):
    """A rectangle of a picture, pixels."""

    x: int
    """Its left."""
    y: int
    """Its top."""
    width: int
    """Columns."""
    height: int
    """Rows."""


def find_region(original: Picture, results: Sequence[Picture], side_px: int) -> Region:
    """Choose a square of `side_px`, or less where the picture is smaller.

    The score of a place is the geometric mean of two: how far the results, and the original among
    them, are from one another (deviation of the luminance over methods), and how much the original
    changes from pixel to pixel. The first of equal places is taken.

    Args:
        original: The picture that shows what there is to see.
        results: Pictures of the same size, one at least.
        side_px: Pixels.
    """
    planes = [picture @ _GRAY for picture in (original, *results)]
    difference = np.std(planes, axis=0)
    down, across = np.gradient(planes[0])
    detail = np.hypot(down, across)
    height, width = difference.shape
    side = min(side_px, height, width)
    score = np.sqrt(_sums(difference, side) * _sums(detail, side))[::_STEP_PX, ::_STEP_PX]
    y, x = np.unravel_index(np.argmax(score), score.shape)
    return Region(int(x) * _STEP_PX, int(y) * _STEP_PX, side, side)


def check_region(region: Region, picture: Picture) -> None:
    """Refuse a region that is not wholly in the picture.

    Raises:
        OptionError: "the region 500,0,96,96 is not inside the picture of 512x512"
    """
    height, width = picture.shape[:2]
    if region.x + region.width > width or region.y + region.height > height:
        raise OptionError(
            f"the region {','.join(map(str, region))} is not inside the picture of {width}x{height}"
        )


def crop(picture: Picture, region: Region) -> Picture:
    """Cut the region out."""
    x, y, width, height = region
    return picture[y : y + height, x : x + width]


def _sums(values: Map, side: int) -> Map:
    """The sum over each square of `side` pixels, by its top left: (H - side + 1)(W - side + 1)."""
    total = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    squares: Map = (
        total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    )
    return squares.clip(0)  # the difference of sums may be a little below nothing
