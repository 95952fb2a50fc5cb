"""From single timings to medians, ratios with their spread, and geometric means."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Clock", "Quartiles", "Sample", "fastest", "geometric_mean", "quartiles", "ratio"]

Clock = Literal["cpu", "wall"]
"""Seconds of all the process's threads together, or those that passed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What one run took."""

    wall: float
    """Seconds that passed."""

    cpu: float
    """Seconds of processor time, of all threads of the process."""

    def of(self, clock: Clock) -> float:
        """Seconds by that clock."""
        return self.cpu if clock == "cpu" else self.wall


@dataclass(frozen=True, kw_only=True, slots=True)
class Quartiles:
    """The middle of some numbers, and between what the middle half of them lies."""

    median: float
    """As many above it as below."""

    low: float
    """First quartile."""

    high: float
    """Third quartile."""


def quartiles(values: Sequence[float]) -> Quartiles:
    """Median and quartiles of at least one number, by linear interpolation between them."""
    if len(values) == 1:
        return Quartiles(median=values[0], low=values[0], high=values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Quartiles(median=median, low=low, high=high)


def ratio(theirs: Sequence[Sample], ours: Sequence[Sample], clock: Clock) -> Quartiles:
    """How many times longer they took than we did, round by round.

    Both ran one after the other in each round, so what else the machine was doing then hits both;
    rounds in which only one of them ran are left out.
    """
    pairs = zip(theirs, ours, strict=False)
    return quartiles([their.of(clock) / our.of(clock) for their, our in pairs])


def fastest(samples: Mapping[str, Sequence[Sample]], clock: Clock) -> str:
    """Which of them has the smallest median; `samples` is not empty."""
    return min(samples, key=lambda name: statistics.median(s.of(clock) for s in samples[name]))


def geometric_mean(values: Sequence[float]) -> float:
    """The mean of ratios, all above 0."""
    return math.exp(statistics.fmean(math.log(value) for value in values))
