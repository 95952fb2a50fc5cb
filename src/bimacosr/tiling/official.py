"""The tiling of the official testing scripts: tiles of one size, the last moved inwards, averaged.

Its seams show where two tiles differ, since they overlap by a step and not by a ramp; it is here to
give what the official code gives, number for number.

Coordinates count low-quality pixels unless a name says otherwise.

Source: the behaviour of ResShift's and SinSR's samplers (arXiv:2307.12348, arXiv:2311.14760).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bimacosr.errors import OptionError
from bimacosr.tiling.feathered import Block, Span, Tile

__all__ = ["Official", "average", "plan_official", "starts"]

Plane = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Official:
    """How the official scripts cut pictures."""

    chop_size: int = 256
    """Side of a tile, at least 8 (officially 64, 256 or 512); tiles follow each other at 7/8 of it.

    A picture that fits into one tile is not cut."""

    def of_tile(self, tile: int) -> Official:
        """Refuses: a tile of this tiling has no core.

        Raises:
            OptionError: always.
        """
        raise OptionError(
            f"tile is {tile}, but the official tiling takes chop_size, the side of what the network"
            " sees; leave out tile"
        )

    def plan(self, height: int, width: int) -> list[list[Tile]]:
        """Rows of tiles, see `plan_official`."""
        stride = self.chop_size - self.chop_size // 8
        return plan_official(height, width, chop_size=self.chop_size, stride=stride)

    def join(
        self, rows: Iterable[list[Tile]], restored: Callable[[Tile], Plane], *, scale: int
    ) -> Iterator[Block]:
        """The finished picture from the enlarged tiles, see `average`."""
        return average(list(rows), restored, scale=scale)


def starts(length: int, chop_size: int, stride: int) -> list[int]:
    """Where the tiles along a side of `length` pixels start; the last one ends with the side."""
    if length <= chop_size:
        return [0]
    places = (min(start, length - chop_size) for start in range(0, length, stride))
    return sorted(set(places))


def plan_official(height: int, width: int, *, chop_size: int, stride: int) -> list[list[Tile]]:
    """Rows of tiles that cover a picture of `height` x `width` pixels.

    Args:
        height: Pixels, at least 1.
        width: Pixels, at least 1.
        chop_size: Side of a tile; a shorter side of the picture is one tile.
        stride: Pixels from one tile to the next, at most `chop_size`.
    """
    rows, columns = (
        [
            _span(start, min(length, start + chop_size))
            for start in starts(length, chop_size, stride)
        ]
        for length in (height, width)
    )
    return [[Tile(row, column) for column in columns] for row in rows]


def _span(start: int, stop: int) -> Span:
    return Span(read=range(start, stop), write=range(start, stop), ramp_in=0, ramp_out=0)


def average(
    rows: list[list[Tile]], restored: Callable[[Tile], Plane], *, scale: int
) -> Iterator[Block]:
    """Join the enlarged tiles: each pixel is the mean of the tiles that hold it.

    Args:
        rows: The plan's rows of tiles.
        restored: Gives a tile's enlarged pixels: H x W x C, float32; clipped to [0, 1] here.
        scale: Enlargement.

    Yields:
        Bands of the finished picture, from the top, in full width.
    """
    tops = [row[0].rows.read.start for row in rows] + [rows[-1][0].rows.read.stop]
    width = rows[0][-1].columns.read.stop
    across = np.zeros(width * scale, np.float32)
    for tile in rows[0]:
        across[_enlarged(tile.columns.read, scale)] += 1
    sums: Plane | None = None
    down = np.zeros(0, np.float32)
    for row, top, below in zip(rows, tops, tops[1:], strict=False):
        size = len(row[0].rows.read) * scale
        down = _taller(down, (size,)) + 1
        strip = None
        for tile in row:
            pixels = restored(tile).clip(0, 1)
            if strip is None:
                strip = _taller(sums, (size, width * scale, pixels.shape[2]))
            strip[:, _enlarged(tile.columns.read, scale)] += pixels
        assert strip is not None
        done = (below - top) * scale
        count = down[:done, None] * across
        yield Block(top * scale, 0, strip[:done] / count[..., None])
        sums, down = strip[done:], down[done:]


def _taller(above: Plane | None, shape: tuple[int, ...]) -> Plane:
    """Zeros of `shape` that begin with what is there `above`."""
    result = np.zeros(shape, np.float32)
    if above is not None:
        result[: len(above)] = above
    return result


def _enlarged(places: range, scale: int) -> slice:
    return slice(places.start * scale, places.stop * scale)
