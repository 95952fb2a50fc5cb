"""Cut a picture into overlapping tiles, and join the enlarged tiles without a seam.

A tile has a core; the cores cover the picture once. Around its core a tile is *blended* with its
neighbours over `feather` pixels on either side of the joint, by weights that sum to 1, and around
that it *reads* `margin` more pixels which it does not write: there the network sees the picture's
edge of the tile, not of the picture. Where a network takes only multiples of a size, a tile reads
up to the next one, half of it on each side, as long as the picture has pixels.

Coordinates count low-quality pixels unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bimacosr.errors import OptionError

__all__ = ["Block", "Feathered", "Span", "Tile", "blend", "plan"]

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Feathered:
    """How a network wants its pictures cut; sizes in pixels of the input."""

    tile: int = 128
    """Longest side of a core, at least twice the feather."""

    margin: int
    """Pixels around what a tile writes that it must see."""

    feather: int = 4
    """Pixels over which two tiles are blended on either side of their joint."""

    multiple: int = 1
    """Sides that the network takes."""

    whole: int = 0
    """A side of the picture up to this is not cut, although longer than `tile`: at the picture's
    edges a tile has nothing to overlap with."""

    def of_tile(self, tile: int) -> Feathered:
        """The same with another side of a core."""
        seen = tile + 2 * (self.feather + self.margin)
        return replace(self, tile=tile, whole=min(self.whole, seen))

    def plan(self, height: int, width: int) -> list[list[Tile]]:
        """Rows of tiles, see `plan`."""
        return plan(
            height,
            width,
            tile=self.tile,
            margin=self.margin,
            feather=self.feather,
            multiple=self.multiple,
            whole=self.whole,
        )

    def join(
        self, rows: Iterable[list[Tile]], restored: Callable[[Tile], Plane], *, scale: int
    ) -> Iterator[Block]:
        """The finished picture from the enlarged tiles, see `blend`."""
        rows = list(rows)
        width = rows[0][-1].columns.write.stop
        return blend(rows, restored, scale=scale, width=width)


def plan(
    height: int,
    width: int,
    *,
    tile: int,
    margin: int,
    feather: int,
    multiple: int = 1,
    whole: int = 0,
) -> list[list[Tile]]:
    """Rows of tiles that cover a picture of `height` x `width` pixels.

    Args:
        height: Pixels, at least 1.
        width: Pixels, at least 1.
        tile: Longest side of a core; the cores of a picture have nearly equal sides.
        margin: Pixels read but not written on each side.
        feather: Pixels of blending on either side of a joint.
        multiple: A tile reads a multiple of this, or the whole side of the picture.
        whole: Longest side of a picture that is one tile, if more than `tile`.

    Raises:
        OptionError: `tile` is smaller than twice the feather.
    """
    if tile < max(1, 2 * feather):
        raise OptionError(f"tile is {tile} pixels; it must be at least {max(1, 2 * feather)}")
    rows, columns = (
        _spans(length, max(tile, length if length <= whole else 0), margin, feather, multiple)
        for length in (height, width)
    )
    return [[Tile(row, column) for column in columns] for row in rows]


def _spans(length: int, tile: int, margin: int, feather: int, multiple: int) -> list[Span]:
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
    needed = max(len(write) for write in writes) + 2 * margin
    more = -needed % multiple
    margin += more // 2
    reach = min(length, needed + more)
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
            if any((ys.ramp_in, ys.ramp_out, xs.ramp_in, xs.ramp_out)):
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
