"""What was measured of one method on one set, and its figures.

Keys are names of metrics; others (colour shifts, seconds) stand for plain numbers.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from bimacosr.metrics.metric import Metric, mean

__all__ = ["Tally", "Values"]

Values = dict[str, tuple[float, ...]]
"""Key to the parts of one picture's value."""


@dataclass(slots=True)
class Tally:
    """Values of one method, and how they become figures."""

    metrics: Mapping[str, Metric]
    """Those of the keys that are metrics."""
    pictures: dict[str, Values] = field(default_factory=dict)
    """By name of the picture."""
    of_set: dict[str, float] = field(default_factory=dict)
    """Figures that single pictures do not have."""

    def figures(self, name: str) -> dict[str, float]:
        """The figures of one picture."""
        return {key: self._pool(key, [parts]) for key, parts in self.pictures[name].items()}

    def summary(self, names: Collection[str] | None = None) -> dict[str, float]:
        """The figures of the set, or of the pictures called `names`; nan where none has one."""
        chosen = self._chosen(names)
        keys = dict.fromkeys(key for values in chosen for key in values)
        pooled = {key: self._pool(key, [v[key] for v in chosen if key in v]) for key in keys}
        return pooled | self.of_set

    def spread(self, names: Collection[str] | None = None) -> dict[str, tuple[float, float]]:
        """Median and standard deviation (n - 1) over the pictures' figures; nan below 2."""
        chosen = self._chosen(names)
        result = {}
        for key in dict.fromkeys(key for values in chosen for key in values):
            figures = [self._pool(key, [v[key]]) for v in chosen if key in v]
            known = [figure for figure in figures if np.isfinite(figure)]
            result[key] = (
                statistics.median(known) if known else np.nan,
                statistics.stdev(known) if len(known) > 1 else np.nan,
            )
        return result

    def _chosen(self, names: Collection[str] | None) -> list[Values]:
        return [v for name, v in self.pictures.items() if names is None or name in names]

    def _pool(self, key: str, rows: list[tuple[float, ...]]) -> float:
        pool = self.metrics[key].pool if key in self.metrics else mean
        return pool(np.array(rows, np.float64))
