"""The spine: one picture in, one larger picture out.

    prepare -> plan tiles -> restore each -> check -> blend -> place -> (alpha, resample)

Reading and writing files lie before and after, in `bimacosr.io`; the network lies behind
`Backend`. Nothing here imports PyTorch.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bimacosr.config.upscale import UpscaleSettings
from bimacosr.errors import BimacosrError, LimitError, ResultError
from bimacosr.io.color import bleed_edges, from_float01, resize, to_float01, to_grey, to_rgb
from bimacosr.io.picture import Picture
from bimacosr.tiling import Block, Tile

__all__ = ["Backend", "Notice", "Progress", "Tiling", "enlarge", "warn"]

Plane = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with the number of tiles done and their total."""

Notice = Callable[[str], None]
"""Called with a sentence that the user should read, though nothing failed."""


class Tiling(Protocol):
    """How pictures are cut for a network, and joined."""

    def of_tile(self, tile: int) -> Tiling:
        """The same with tiles of that many pixels of the input."""

    def plan(self, height: int, width: int) -> list[list[Tile]]:
        """Rows of tiles that cover a picture of that many pixels."""

    def join(
        self, rows: Iterable[list[Tile]], restored: Callable[[Tile], Plane], *, scale: int
    ) -> Iterator[Block]:
        """Rectangles that cover the finished picture once; asks for the tiles in their order."""


class Backend(Protocol):
    """A network that enlarges a tile."""

    name: str
    """What the user calls it."""

    scale: int
    """Its enlargement."""

    side_by_side: bool
    """Tiles are worked on side by side, as many as there are threads; else one after another."""

    trusted: bool
    """A result that does not resemble the picture is an error; else (weights that the user brings,
    which may be meant for anything) it is said, and the picture is written."""

    @property
    def tiling(self) -> Tiling:
        """How it wants pictures cut, but for the user's wish."""

    def start_worker(self, threads: int) -> None:
        """Called once in each thread that will call `restore`, which may use so many `threads`."""

    def restore(self, lq: Plane, *, row: int, column: int, seed: int) -> Plane:
        """Enlarge a tile.

        Args:
            lq: h x w x 3 RGB in [0, 1].
            row: Row of the tile's first pixel in the picture.
            column: Column of that pixel.
            seed: The picture's seed.

        Returns:
            (h * scale) x (w * scale) x 3, float32, not clipped. The same call gives the same
            bits, whatever was called before and from whichever thread (but for a backend with the
            official noise, which goes on from call to call).
        """


def enlarge(
    picture: Picture,
    backend: Backend,
    settings: UpscaleSettings,
    *,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> Picture:
    """Enlarge a picture; depth, number of channels, alpha and metadata stay as they are.

    Args:
        picture: What is enlarged.
        backend: Runs the network.
        settings: The user's wishes.
        progress: Called after each tile.
        notice: Told what the user should know; without it, it is a `UserWarning`.

    Raises:
        ResultError: the network's result is NaN, black or flat where the picture is not.
        LimitError: the result does not fit in memory.
    """
    height, width, channels = picture.pixels.shape
    scale = backend.scale
    source = bleed_edges(picture.pixels, picture.alpha)
    with _fitting(height * scale, width * scale):
        result = np.empty((height * scale, width * scale, channels), source.dtype)
    tiling = backend.tiling if settings.tile is None else backend.tiling.of_tile(settings.tile)
    rows = tiling.plan(height, width)
    with _restorer(source, backend, settings, rows, progress, notice or warn) as restored:
        for block in tiling.join(rows, restored, scale=scale):
            pixels = block.pixels if channels == 3 else to_grey(block.pixels)
            bottom, right = block.y + pixels.shape[0], block.x + pixels.shape[1]
            result[block.y : bottom, block.x : right] = from_float01(pixels, source.dtype)
    target = settings.target_size(height, width, scale)
    alpha = picture.alpha
    with _fitting(*target):
        if target != result.shape[:2]:
            result = resize(result, (target[1], target[0]))
        if alpha is not None:
            alpha = resize(alpha, (target[1], target[0]))
    return replace(picture, pixels=result, alpha=alpha)


@contextmanager
def _fitting(height: int, width: int) -> Iterator[None]:
    """Say it in one sentence when there is no memory for a result of that size."""
    try:
        yield
    except MemoryError as error:
        raise LimitError(
            f"the result of {width}x{height} pixels does not fit in memory; "
            "ask for a smaller size or cut the picture into parts"
        ) from error


@contextmanager
def _restorer(
    source: npt.NDArray[Any],
    backend: Backend,
    settings: UpscaleSettings,
    rows: list[list[Tile]],
    progress: Progress | None,
    notice: Notice,
) -> Iterator[Callable[[Tile], Plane]]:
    """A function that gives the enlarged tiles in the plan's order, made a few ahead in threads."""
    tiles = [tile for row in rows for tile in row]
    coming: deque[Future[tuple[Plane, str | None]]] = deque()
    upcoming = iter(tiles)
    done = 0
    doubts: set[str] = set()

    def restore(tile: Tile) -> tuple[Plane, str | None]:
        ys, xs = tile.rows.read, tile.columns.read
        lq = to_rgb(to_float01(source[ys.start : ys.stop, xs.start : xs.stop]))
        sr = backend.restore(lq, row=ys.start, column=xs.start, seed=settings.seed)
        doubt = _doubt(lq, _reduced(sr, backend.scale))
        if doubt and backend.trusted:
            raise ResultError(f"the network gave {doubt}; the model is faulty")
        return sr, doubt

    def submit() -> None:
        if (tile := next(upcoming, None)) is not None:
            coming.append(pool.submit(restore, tile))

    def next_restored(_: Tile) -> Plane:
        nonlocal done
        sr, doubt = coming.popleft().result()
        submit()
        if doubt and doubt not in doubts:
            doubts.add(doubt)
            notice(f"the network gave {doubt}; are its weights and settings meant for pictures?")
        done += 1
        if progress is not None:
            progress(done, len(tiles))
        return sr

    workers = min(settings.workers, len(tiles)) if backend.side_by_side else 1
    threads = settings.workers // workers
    pool = ThreadPoolExecutor(
        workers, "tile", initializer=backend.start_worker, initargs=(threads,)
    )
    try:
        for _ in range(2 * workers):
            submit()
        yield next_restored
    except BimacosrError:
        raise
    except MemoryError as error:
        raise LimitError("a tile does not fit in memory; choose a smaller --tile") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def warn(message: str) -> None:
    """A notice to a program that did not say where it wants them."""
    warnings.warn(message, stacklevel=2)


def _reduced(sr: Plane, scale: int) -> Plane:
    """A tile's result at the size of its input, each pixel the mean of those made of it.

    Raises:
        ResultError: there is NaN or infinity.
    """
    h, w = sr.shape[0] // scale, sr.shape[1] // scale
    # a product of matrices sums the columns twenty times faster than a sum over so short an axis
    columns = np.tile(np.eye(3, dtype=np.float32), (scale, 1))
    with np.errstate(invalid="ignore", over="ignore"):
        rows = np.add.reduce(sr.reshape(h, scale, -1), axis=1)
        reduced: Plane = (rows.reshape(-1, 3 * scale) @ columns).reshape(h, w, 3)
    if not np.isfinite(reduced).all():
        raise ResultError(
            "the network gave NaN for a part of the picture; the model or its device is faulty"
        )
    reduced /= scale**2
    return reduced


def _doubt(lq: Plane, reduced: Plane) -> str | None:
    """What speaks against a tile being an enlargement of its input; None if nothing does.

    That is: flat or black where the input is not, or another colour.
    """
    spread = float(lq.std())
    if spread > 0.02 and float(reduced.std()) < 0.1 * spread:
        return "a flat result where the picture is not"
    contrast = float(np.abs(lq - lq.mean((0, 1))).mean())  # fine dots may melt into their grey
    if np.abs(reduced - lq).mean() > max(0.25, 1.2 * contrast):
        return "a result that does not resemble the picture"
    return None
