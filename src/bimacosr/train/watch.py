"""What the loop tells of its progress, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Line", "Sampled", "Stepped", "Watcher"]


@dataclass(frozen=True)
class Line:
    """Facts of the steps since the line before."""

    step: int
    """Steps done."""

    phase: str
    """Name of the phase of the last one."""

    terms: dict[str, float]
    """Means of the loss and of its terms before their weights."""

    rate: float
    """Learning rate of the last step."""

    gradient_norm: float
    """Norm of the last gradient before it was clipped."""

    images_per_second: float
    """Samples a second on all devices together."""

    waiting: float
    """Share of the time that the first process waited for data, 0 to 1."""

    seconds_left: float
    """Time to the end of the course at this speed."""


@dataclass(frozen=True)
class Stepped:
    """One more step is done."""

    step: int
    """Steps done."""


@dataclass(frozen=True)
class Sampled:
    """Sample pictures were made."""

    step: int
    """Steps done."""

    strip: Tensor
    """3,H,W in [0, 1]: columns of enlarged input, result and truth, a row for each sample."""


Watcher = Callable[[Stepped | Line | Sampled], None]
"""Takes what it cares for; lives in process 0 alone."""
