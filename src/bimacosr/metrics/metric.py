"""What a metric is, and how its values on many pictures become one figure.

Shapes: B batch, N pictures, K parts of a metric's value (1 unless said).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bimacosr.config.evaluate import MetricSettings
from bimacosr.errors import OptionError

__all__ = [
    "ARROWS",
    "Metric",
    "Pool",
    "Score",
    "SetMetric",
    "SetScore",
    "alone",
    "compared",
    "largest_mean",
    "mean",
    "worst_median",
]

Floats = NDArray[np.float64]

Score = Callable[[Tensor, Tensor | None], Tensor]
"""Results and originals, B3HW RGB in [0, 1], to B values, or BK where a value has parts; nan where
a picture is too small."""

Pool = Callable[[Floats], float]
"""Values NK to one figure; pictures with nan are left out, and without any other it is nan."""

SetScore = Callable[[Sequence[Path], Sequence[Path]], float]
"""Files of results and of originals to one figure of the set."""


def mean(values: Floats) -> float:
    """The mean over pictures of a value without parts, summed exactly."""
    numbers = _numbers(values)[:, 0].tolist()
    return statistics.fmean(numbers) if numbers else np.nan


def worst_median(values: Floats) -> float:
    """The largest part of the medians over pictures."""
    numbers = _numbers(values)
    return float(np.median(numbers, 0).max()) if len(numbers) else np.nan


def largest_mean(values: Floats) -> float:
    """The part whose mean over pictures is farthest from 0, without its sign."""
    numbers = _numbers(values)
    return float(np.abs(numbers.mean(0)).max()) if len(numbers) else np.nan


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """What is known of one metric before its weights are read."""

    name: str
    """Lower-case name, as in arguments and files."""
    title: str
    """Head of its column in a table."""
    convention: str
    """What exactly is measured, in one line."""
    load: Callable[[MetricSettings], Score]
    """From the settings to the metric itself."""
    higher_is_better: bool
    needs_reference: bool
    """Whether it compares with the original."""
    weight_files: tuple[str, ...] = ()
    """Names of the files it reads."""
    digits: int = 2
    """Decimals in a table."""
    pool: Pool = mean
    """From its values on many pictures, or one, to a figure."""
    notice: str | None = None
    """What its user must be told once, such as a licence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SetMetric:
    """A metric of two sets of pictures, which has no value for one picture."""

    name: str
    """Lower-case name, as in arguments and files."""
    title: str
    """Head of its column in a table."""
    convention: str
    """What exactly is measured, in one line."""
    load: Callable[[MetricSettings], SetScore]
    """From the settings to the metric itself."""
    higher_is_better: bool
    needs_reference: bool = True
    """Whether it compares with the originals."""
    digits: int = 2
    """Decimals in a table."""
    notice: str | None = None
    """What its user must be told once, such as a licence."""


ARROWS = {True: "↑", False: "↓"}
"""By `higher_is_better`: what stands beside a title."""


def compared(function: Callable[[Tensor, Tensor], Tensor]) -> Score:
    """A score of `function(sr, hr)` that refuses a missing original.

    Raises:
        OptionError: from the score, there is no original.
    """

    def score(sr: Tensor, hr: Tensor | None) -> Tensor:
        if hr is None:
            raise OptionError("the metric compares with an original picture, and there is none")
        return function(sr, hr)

    return score


def alone(function: Callable[[Tensor], Tensor]) -> Score:
    """A score of `function(sr)`, whatever the original."""
    return lambda sr, _hr: function(sr)


def _numbers(values: Floats) -> Floats:
    numbers: Floats = values[~np.isnan(values).any(1)]
    return numbers
