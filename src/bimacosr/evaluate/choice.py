"""Which metrics are measured, and what must be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bimacosr.config.evaluate import EvaluateSettings, MetricSettings
from bimacosr.errors import OptionError
from bimacosr.metrics.metric import Metric, Score, SetMetric, SetScore
from bimacosr.metrics.registry import find_metric

__all__ = ["USUAL", "Choice", "choose"]

USUAL = ("psnr", "ssim", "lpips", "niqe")
"""What is measured where nobody says what."""
_BORDERED = ("psnr_y", "ssim_y")


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Metrics to measure."""

    metrics: dict[str, Metric]
    """Of single pictures, by name."""
    set_metrics: dict[str, SetMetric]
    """Of sets, by name."""
    notices: tuple[str, ...]
    """What the user should know, a sentence each."""

    def load(self, settings: MetricSettings) -> tuple[dict[str, Score], dict[str, SetScore]]:
        """Read the weights of all of them.

        Raises:
            ModelError: a weight file is missing or damaged.
            BackendError: what computes a metric is not installed.
        """
        return (
            {name: metric.load(settings) for name, metric in self.metrics.items()},
            {name: metric.load(settings) for name, metric in self.set_metrics.items()},
        )

    def conventions(self, border_px: int) -> dict[str, str]:
        """What exactly each metric measures, by name."""
        border = f"; {border_px} px left out at each edge" if border_px else "; no border left out"
        return {
            name: metric.convention + (border if name in _BORDERED else "")
            for name, metric in self.all.items()
        }

    @property
    def all(self) -> dict[str, Metric | SetMetric]:
        """Both kinds, by name."""
        return {**self.metrics, **self.set_metrics}


def choose(settings: EvaluateSettings, originals: bool, usual: Sequence[str] = USUAL) -> Choice:
    """Find the metrics that were asked for, or the usual ones that can be had.

    Args:
        settings: Names of metrics, and where weights lie.
        originals: Whether there are any.
        usual: What to take where the settings name none.

    Raises:
        OptionError: a metric is unknown, or compares with originals and there are none; or the
            usual ones cannot be had.
        BackendError: pyiqa is asked for and not installed.
    """
    asked = settings.metrics is not None
    found = dict.fromkeys(find_metric(name) for name in settings.metrics or usual)
    chosen: list[Metric | SetMetric] = []
    notices = []
    for metric in found:
        if metric.needs_reference and not originals:
            if asked:
                raise OptionError(f"{metric.name} compares with originals; give them with --hr")
        elif not asked and (lacking := _lacking(metric, settings.metric.weights)):
            notices.append(
                f"{metric.title} is left out: {lacking} is not there; name its directory with "
                "--metric-weights or BIMACOSR_METRIC_WEIGHTS (see docs/evaluation.md)"
            )
        else:
            chosen.append(metric)
    if not chosen:
        raise OptionError(
            "no metric is left to measure; give originals with --hr, weights with "
            "--metric-weights, or other --metrics"
        )
    notices += dict.fromkeys(metric.notice for metric in chosen if metric.notice)
    return Choice(
        metrics={m.name: m for m in chosen if isinstance(m, Metric)},
        set_metrics={m.name: m for m in chosen if isinstance(m, SetMetric)},
        notices=tuple(notices),
    )


def _lacking(metric: Metric | SetMetric, weights: Path | None) -> str | None:
    """The first weight file that is not there."""
    files = metric.weight_files if isinstance(metric, Metric) else ()
    return next((f for f in files if weights is None or not (weights / f).is_file()), None)
