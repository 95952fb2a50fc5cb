"""The batches of a run from any step on, made ahead, and how long the loop waited for them."""

from __future__ import annotations

from collections.abc import Iterator

from bimacosr.config.train import TrainRecipe
from bimacosr.data.loading import Batch, Prefetch, TrainingPairs
from bimacosr.train.distributed import World

__all__ = ["Feed"]


class Feed:
    """Batches in the order of the steps; with a pool its samples come round again and again.

    Args:
        pairs: The pictures.
        recipe: Batch and pool.
        world: Whose share of the batches.
        threads: Threads that make batches.
    """

    def __init__(
        self, pairs: TrainingPairs, recipe: TrainRecipe, world: World, threads: int = 1
    ) -> None:
        self.pairs, self.world, self.threads = pairs, world, threads
        self.size = recipe.batch
        self.period = recipe.pool // recipe.batch
        self._waited = 0.0
        self._open: Prefetch | None = None

    @property
    def waited_seconds(self) -> float:
        """How long the loop has waited for batches so far."""
        return self._waited + (self._open.waited_seconds if self._open else 0.0)

    def batches(self, step: int, steps: int) -> Iterator[Batch]:
        """The batches of `step` up to `steps`."""
        while step < steps:
            start = step % self.period if self.period else step
            stop = min(start + steps - step, self.period or steps)
            prefetch = Prefetch(
                self.pairs,
                self.size,
                start=start,
                stop=stop,
                rank=self.world.rank,
                world=self.world.size,
                threads=self.threads,
                ahead=max(4, self.threads),
            )
            with prefetch as self._open:
                yield from self._open
            self._waited += self._open.waited_seconds
            self._open = None
            step += stop - start

    def sample(self, size: int) -> Batch:
        """The first samples, for pictures to look at."""
        return self.pairs.batch(0, size)

    def sources(self, batch: Batch) -> list[str]:
        """The files that the samples of a batch were made of."""
        return [str(self.pairs.picture(number)) for number in batch.index.tolist()]
