"""The spine: one picture in, one larger picture out.

    prepare -> plan tiles -> restore each -> check -> blend -> place -> (alpha, resample)

Reading and writing files lie before and after, in `bimacosr.io`; the network lies behind
`Backend`. Nothing here imports PyTorch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
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
from bimacosr.tiling import Tile, blend, plan

__all__ = ["FEATHER", "Backend", "Progress", "enlarge"]

FEATHER = 4
"""Pixels of the input over which two tiles are blended on either side of their joint."""

Plane = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with the number of tiles done and their total."""


class Backend(Protocol):
    """A network that enlarges a tile."""

    name: str
    """What the user calls it."""

    scale: int
    """Its enlargement."""

    margin: int
    """Pixels around a tile that it must see for the tile to come out as in the whole picture."""

    def start_worker(self) -> None:
        """Called once in each thread that will call `restore`."""

    def restore(self, lq: Plane, *, row: int, column: int, seed: int) -> Plane:
        """Enlarge a tile.

        Args:
            lq: h x w x 3 RGB in [0, 1].
            row: Row of the tile's first pixel in the picture.
            column: Column of that pixel.
            seed: The picture's seed.

        Returns:
            (h * scale) x (w * scale) x 3, float32, not clipped. The same call gives the same
            bits, whatever was called before and from whichever thread.
        """


def enlarge(
    picture: Picture,
    backend: Backend,
    settings: UpscaleSettings,
    *,
    progress: Progress | None = None,
) -> Picture:
    """Enlarge a picture; depth, number of channels, alpha and metadata stay as they are.

    Raises:
        ResultError: the network's result is NaN, black or flat where the picture is not.
        LimitError: the result does not fit in memory.
    """
    height, width, channels = picture.pixels.shape
    scale = backend.scale
    source = bleed_edges(picture.pixels, picture.alpha)
    with _fitting(height * scale, width * scale):
        result = np.empty((height * scale, width * scale, channels), source.dtype)
    rows = plan(height, width, tile=settings.tile, margin=backend.margin, feather=FEATHER)
    with _restorer(source, backend, settings, rows, progress) as restored:
        for block in blend(rows, restored, scale=scale, width=width):
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
) -> Iterator[Callable[[Tile], Plane]]:
    """A function that gives the enlarged tiles in the plan's order, made a few ahead in threads."""
    tiles = [tile for row in rows for tile in row]
    coming: deque[Future[Plane]] = deque()
    upcoming = iter(tiles)
    done = 0

    def restore(tile: Tile) -> Plane:
        ys, xs = tile.rows.read, tile.columns.read
        lq = to_rgb(to_float01(source[ys.start : ys.stop, xs.start : xs.stop]))
        sr = backend.restore(lq, row=ys.start, column=xs.start, seed=settings.seed)
        _check(lq, sr, backend.scale)
        return sr

    def submit() -> None:
        if (tile := next(upcoming, None)) is not None:
            coming.append(pool.submit(restore, tile))

    def next_restored(_: Tile) -> Plane:
        nonlocal done
        sr = coming.popleft().result()
        submit()
        done += 1
        if progress is not None:
            progress(done, len(tiles))
        return sr

    pool = ThreadPoolExecutor(settings.workers, "tile", initializer=backend.start_worker)
    try:
        for _ in range(2 * settings.workers):
            submit()
        yield next_restored
    except BimacosrError:
        raise
    except MemoryError as error:
        raise LimitError("a tile does not fit in memory; choose a smaller --tile") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _check(lq: Plane, sr: Plane, scale: int) -> None:
    """Refuse a tile that is not an enlargement of its input.

    Raises:
        ResultError: NaN or infinity, flat or black where the input is not, or another colour.
    """
    if not np.isfinite(sr).all():
        raise ResultError(
            "the network gave NaN for a part of the picture; the model or its device is faulty"
        )
    spread = float(lq.std())
    if spread > 0.02 and float(sr.std()) < 0.1 * spread:
        raise ResultError(
            "the network gave a flat result where the picture is not; the model is faulty"
        )
    h, w = lq.shape[:2]
    reduced = sr.reshape(h, scale, w, scale, -1).mean((1, 3))
    contrast = float(np.abs(lq - lq.mean((0, 1))).mean())  # fine dots may melt into their grey
    if np.abs(reduced - lq).mean() > max(0.25, 1.2 * contrast):
        raise ResultError(
            "the network gave a result that does not resemble the picture; the model is faulty"
        )
