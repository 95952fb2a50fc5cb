"""Where all randomness of the degradation comes from: one object, two seeded streams."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

__all__ = ["Draws", "seed_for"]

Item = TypeVar("Item")


class Draws:
    """Scalar choices from `random.Random`, tensors from a `torch.Generator`; same seed, same bytes.

    Args:
        seed: Any integer; both streams start from it.
        device: Where tensors are drawn.
    """

    def __init__(self, seed: int, device: str | torch.device = "cpu") -> None:
        self._scalars = random.Random(seed)
        self._tensors = torch.Generator(device).manual_seed(seed % 2**63)
        self._device = device

    def between(self, low: float, high: float) -> float:
        """A uniform number."""
        return self._scalars.uniform(low, high)

    def happens(self, probability: float) -> bool:
        """True with that probability."""
        return self._scalars.random() < probability

    def one_of(self, items: Sequence[Item], weights: Sequence[float] | None = None) -> Item:
        """One of `items`, with relative `weights`."""
        return self._scalars.choices(items, weights)[0]

    def uniform(self, *shape: int) -> Tensor:
        """A tensor uniform on [0, 1)."""
        return torch.rand(shape, generator=self._tensors, device=self._device)

    def normal(self, *shape: int) -> Tensor:
        """A standard normal tensor."""
        return torch.randn(shape, generator=self._tensors, device=self._device)

    def poisson(self, rate: Tensor) -> Tensor:
        """Poisson counts of the given rates."""
        return torch.poisson(rate, generator=self._tensors)


def seed_for(*parts: int | str) -> int:
    """A seed of 63 bits that depends on all `parts`: related parts give unrelated seeds.

    The same on every machine and in every version of Python.
    """
    digest = hashlib.blake2b(ascii(parts).encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big") >> 1
