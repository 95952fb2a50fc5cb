"""What a trainer reads: batches of pairs that depend on the seed and their numbers alone.

    picture of the epoch's order -> square -> flip, turn -> low-quality half -> patch

Sample number i of a run is a pure function of (settings, seed, i): batches of another size, more
ranks, threads or a resumed run give the same samples.

Shapes: B batch, H and W in pixels (BCHW), values in [0, 1].
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bimacosr.config.data import DataSettings
from bimacosr.data.cache import PairCache
from bimacosr.data.draws import Draws, seed_for
from bimacosr.data.fresh import FreshPairs
from bimacosr.data.photos import find_pictures
from bimacosr.data.threads import compute_alone
from bimacosr.errors import OptionError

__all__ = ["Batch", "Prefetch", "TrainingPairs"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs of one step, or a rank's share of them."""

    lq: Tensor
    """B,3,patch,patch float32 in [0, 1], multiples of 1/255 (target's size with `resize_back`)."""

    hq: Tensor
    """B,3,patch*scale,patch*scale float32 in [0, 1]."""

    index: Tensor
    """B int64, on the CPU: the numbers of the samples in the run, `step * size + position`."""


class TrainingPairs:
    """The pairs of some clean pictures; `batch` may be called from several threads.

    Each picture comes once in an epoch, in an order of that epoch's own.

    Args:
        settings: Pictures, patches and degradation.
        device: Where batches go; without a cache, where they are degraded as well. A GPU has other
            random numbers than the CPU.
        notice: Told in one sentence of each picture that is left out; called from any thread.
        progress: Told (done, total) pictures while a cache is made.

    Raises:
        OptionError: the settings do not fit together.
        ReadError: a source is missing, or there is no picture, or none that can be read.
        WriteError: the cache cannot be written.
    """

    def __init__(
        self,
        settings: DataSettings,
        device: str | torch.device = "cpu",
        *,
        notice: Callable[[str], None] = lambda _: None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.settings = settings
        self.device = torch.device(device)
        pictures = find_pictures(settings.sources)
        self._pairs: PairCache | FreshPairs
        if settings.cache is not None:
            self._pairs = PairCache(pictures, settings, notice, progress)
        else:
            self._pairs = FreshPairs(pictures, settings, self.device, notice)
        self._order: tuple[int, list[int]] = (-1, [])

    def __len__(self) -> int:
        """Number of pictures; so many samples are an epoch."""
        return len(self._pairs)

    def batch(self, step: int, size: int, rank: int = 0, world: int = 1) -> Batch:
        """The samples `step * size` and on, or the share of them that is this rank's.

        Args:
            step: Number of the step, from 0.
            size: Samples of a step on all ranks together; a multiple of `world`.
            rank: Which share: positions rank * size / world and on.
            world: Number of ranks.

        Raises:
            OptionError: the size is no multiple of `world`.
            ReadError: no picture can be read any more.
        """
        if size < 1 or size % world:
            raise OptionError(
                f"a batch of {size} cannot be shared by {world}; it must be a multiple of that"
            )
        share = size // world
        first = step * size + rank * share
        index = torch.arange(first, first + share)
        pairs = [self._sample(number) for number in range(first, first + share)]
        lq, hq = (torch.stack(halves).to(self.device) for halves in zip(*pairs, strict=True))
        return Batch(lq, hq, index)

    def picture(self, number: int) -> Path:
        """The file that the sample of that number in the run is made of."""
        return self._pairs.path(self._place(number))

    def _sample(self, number: int) -> tuple[Tensor, Tensor]:
        draws = Draws(seed_for("sample", self.settings.seed, number), self._pairs.device)
        return self._pairs.pair(self._place(number), draws)

    def _place(self, number: int) -> int:
        epoch, place = divmod(number, len(self))
        return self._order_of(epoch)[place]

    def _order_of(self, epoch: int) -> list[int]:
        known, order = self._order  # read once: another thread may replace it meanwhile
        if known != epoch:
            generator = torch.Generator().manual_seed(seed_for("epoch", self.settings.seed, epoch))
            order = torch.randperm(len(self), generator=generator).tolist()
            self._order = (epoch, order)
        return order


class Prefetch:
    """Batches in order, made ahead by threads; an error comes where its batch would.

        with Prefetch(pairs, size=16, start=step) as batches:
            for batch in batches: ...

    Args:
        pairs: Where they come from.
        size: Samples of a step on all ranks together.
        start: The first step.
        stop: The step after the last; None: without end.
        rank: This process's share, as in `TrainingPairs.batch`.
        world: Number of ranks.
        threads: Batches that are made at once, at least 1; PyTorch computes each on one thread.
        ahead: Batches that are ready or being made; `threads` at least.
    """

    def __init__(
        self,
        pairs: TrainingPairs,
        size: int,
        *,
        start: int = 0,
        stop: int | None = None,
        rank: int = 0,
        world: int = 1,
        threads: int = 1,
        ahead: int = 4,
    ) -> None:
        if threads < 1:
            raise OptionError(f"{threads} threads make no batches; it must be at least 1")
        self.waited_seconds = 0.0
        """How long `next` had to wait so far: beside the time of the loop, the cost of loading."""
        self._pairs, self._share = pairs, (size, rank, world)
        self._next, self._stop = start, stop
        self._ahead = max(ahead, threads)
        self._pool = ThreadPoolExecutor(threads, "prefetch", initializer=compute_alone)
        self._made: deque[Future[Batch]] = deque()

    def __enter__(self) -> Prefetch:
        self._refill()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __iter__(self) -> Prefetch:
        return self

    def __next__(self) -> Batch:
        self._refill()
        if not self._made:
            raise StopIteration
        began = time.perf_counter()
        batch = self._made.popleft().result()
        self.waited_seconds += time.perf_counter() - began
        self._refill()
        return _owned_here(batch)

    def _refill(self) -> None:
        while len(self._made) < self._ahead and (self._stop is None or self._next < self._stop):
            self._made.append(self._pool.submit(self._make, self._next))
            self._next += 1

    def _make(self, step: int) -> Batch:
        size, rank, world = self._share
        if self._pairs.device.type != "cuda":
            return self._pairs.batch(step, size, rank, world)
        # beside the training, not between its kernels: the degradation waits for results often
        stream = torch.cuda.Stream(self._pairs.device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(stream):
            batch = self._pairs.batch(step, size, rank, world)
        stream.synchronize()
        return batch


def _owned_here(batch: Batch) -> Batch:
    """Tell the allocator of the GPU that the training's stream uses what another one made."""
    if batch.lq.is_cuda:
        for half in (batch.lq, batch.hq):
            half.record_stream(torch.cuda.current_stream(half.device))
    return batch
