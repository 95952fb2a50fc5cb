"""The random numbers of a step: pure functions of the seed, the step and a sample's number.

A sample gets the same numbers on whatever device, in whatever part of a batch it is computed, and
after any number of restarts. They are drawn on the CPU, so that a GPU trains on the same noise.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["StepDraws"]

NOISE, PLACE, PICTURE, MEMORY = 0, 1, 2, 3  # what a stream is for


class StepDraws:
    """The numbers of some samples of one step.

    Args:
        seed: Of the training.
        step: Number of the step.
        samples: Numbers of the samples, one for each picture of the batch.
        device: Where tensors are wanted.
    """

    def __init__(
        self, seed: int, step: int, samples: list[int], device: torch.device | None = None
    ) -> None:
        self.seed, self.step, self.samples = seed, step, samples
        self.device = device or torch.device("cpu")

    def normal(self, like: Tensor, stream: int = 0) -> Tensor:
        """Standard normal numbers shaped like the batch `like`; a `stream` for each use."""
        drawn = [
            np.random.default_rng((self.seed, sample, NOISE, stream)).standard_normal(
                tuple(like.shape[1:]), dtype=np.float32
            )
            for sample in self.samples
        ]
        return torch.from_numpy(np.stack(drawn)).to(like)

    def places(self, below: int) -> Tensor:
        """A whole number from 0 to `below` - 1 for each sample, (B,) int64."""
        drawn = [
            int(np.random.default_rng((self.seed, sample, PLACE)).integers(below))
            for sample in self.samples
        ]
        return torch.tensor(drawn, device=self.device)

    def shift(self, below: int) -> tuple[int, int]:
        """Two whole numbers from 0 to `below` - 1, the same for all samples of the step."""
        drawn = np.random.default_rng((self.seed, self.step, PICTURE)).integers(below, size=2)
        return int(drawn[0]), int(drawn[1])

    def pick(self, below: int) -> int:
        """A whole number from 0 to `below` - 1, the same for all samples of the step."""
        return int(np.random.default_rng((self.seed, self.step, MEMORY)).integers(below))

    def part(self, samples: slice) -> StepDraws:
        """The numbers of some of the samples."""
        return StepDraws(self.seed, self.step, self.samples[samples], self.device)
