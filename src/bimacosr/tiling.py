"""Cut a picture into overlapping tiles, and join the enlarged tiles without a seam.

A tile has a core; the cores cover the picture once. Around its core a tile is *blended* with its
neighbours over `feather` pixels on either side of the joint, by weights that sum to 1, and around
that it *reads* `margin` more pixels which it does not write: there the network sees the picture's
edge of the tile, not of the picture.

Coordinates count low-quality pixels unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bimacosr.errors import OptionError

__all__ = ["Block", "Span", "Tile", "blend", "plan"]

Plane = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Span:
    """A tile along one axis: what it reads, and what it writes with ramps at the inner ends."""

    read: range
    """Pixels that the network sees."""

    write: range
    """Pixels that the tile contributes to, inside `read`."""

    ramp_in: int
    """Pixels at the start of `write` over which the weight rises; 0 at the picture's edge."""

    ramp_out: int
    """Pixels at the end of `write` over which the weight falls; 0 at the picture's edge."""

    def weights(self, scale: int) -> Plane:
        """Raised-cosine weight of each enlarged pixel of `write`."""
        weight = np.ones(len(self.write) * scale, np.float32)
        for length, part in ((self.ramp_in, slice(None)), (self.ramp_out, slice(None, None, -1))):
            if n := length * scale:
                rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)
                weight[part][:n] = rise
        return weight

    def kept(self, scale: int) -> slice:
        """Where `write` lies inside the enlarged `read`."""
        start = (self.write.start - self.read.start) * scale
        return slice(start, start + len(self.write) * scale)


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: its rows and its columns."""

    rows: Span
    columns: Span


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of the finished picture; places and sizes in enlarged pixels."""

    y: int
    """Its first row."""

    x: int
    """Its first column."""

    pixels: Plane
    """H x W x C."""


def plan(height: int, width: int, *, tile: int, margin: int, feather: int) -> list[list[Tile]]:
    """Rows of tiles that cover a picture of `height` x `width` pixels.

    Args:
        height: Pixels, at least 1.
        width: Pixels, at least 1.
        tile: Longest side of a core; the cores of a picture have nearly equal sides.
        margin: Pixels read but not written on each side.
        feather: Pixels of blending on either side of a joint.

    Raises:
        OptionError: `tile` is smaller than twice the feather.
    """
    if tile < max(1, 2 * feather):
        raise OptionError(f"tile is {tile} pixels; it must be at least {max(1, 2 * feather)}")
    columns = _spans(width, tile, margin, feather)
    return [
        [Tile(row, column) for column in columns] for row in _spans(height, tile, margin, feather)
    ]


def _spans(length: int, tile: int, margin: int, feather: int) -> list[Span]:
    """Cores of nearly equal length, each reading as much as the others."""
    number = -(-length // tile)
    while number > 1 and length // number < 2 * feather:
        number -= 1  # a core must hold its own ramps
    joints = [length * i // number for i in range(number + 1)]
    writes = [
        range(start - feather if start else 0, stop + feather if stop < length else length)
        for start, stop in pairwise(joints)
    ]
    # one size for all, so that a backend prepares itself for one shape a picture
    reach = min(length, max(len(write) for write in writes) + 2 * margin)
    spans = []
    for write in writes:
        start = min(max(0, write.start - margin), length - reach)
        ramp_in, ramp_out = (
            0 if end else 2 * feather for end in (write.start == 0, write.stop == length)
        )
        spans.append(Span(range(start, start + reach), write, ramp_in, ramp_out))
    return spans


def blend(
    rows: Iterable[list[Tile]], restored: Callable[[Tile], Plane], *, scale: int, width: int
) -> Iterator[Block]:
    """Join the enlarged tiles.

    Sums are taken in the order of the plan, whatever order the tiles were made in. What is kept
    from tile to tile is only the strips in which they overlap.

    Args:
        rows: The plan's rows of tiles.
        restored: Gives a tile's enlarged pixels of all it reads: H x W x C, float32.
        scale: Enlargement.
        width: Width of the picture, low-quality pixels.

    Yields:
        Rectangles of the finished picture; together they cover it once.
    """
    above: Plane | None = None
    for row in rows:
        below: Plane | None = None
        left: Plane | None = None
        for tile in row:
            ys, xs = tile.rows, tile.columns
            pixels = restored(tile)[ys.kept(scale), xs.kept(scale)]
            pixels = pixels * (ys.weights(scale)[:, None, None] * xs.weights(scale)[:, None])
            if left is not None:
                pixels[:, : left.shape[1]] += left
            done_x = pixels.shape[1] - xs.ramp_out * scale
            done_y = pixels.shape[0] - ys.ramp_out * scale
            left, pixels = pixels[:, done_x:].copy(), pixels[:, :done_x]
            x = xs.write.start * scale
            if above is not None:
                pixels[: len(above)] += above[:, x : x + done_x]
            if below is None:
                shape = (len(pixels) - done_y, width * scale, pixels.shape[2])
                below = np.zeros(shape, np.float32)
            below[:, x : x + done_x] = pixels[done_y:]
            yield Block(ys.write.start * scale, x, pixels[:done_y])
        above = below
