"""Every metric by name: an explicit list, one row each.

All metrics are loaded and called alike, `metric.load(weights_dir, device)(sr, hr)`; those that
need no original ignore `hr`. The grid peaks (`grid.py`) are figures of a set, not of a picture,
and stand outside the list. To add a metric, write its file and add its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bimacosr.errors import OptionError
from bimacosr.metrics.lpips import NETWORKS, load_lpips
from bimacosr.metrics.niqe import WEIGHT_FILE, load_niqe
from bimacosr.metrics.psnr import psnr_y
from bimacosr.metrics.ssim import ssim_y

__all__ = ["METRICS", "Metric", "Score", "load_metrics"]

Score = Callable[[Tensor, Tensor | None], Tensor]
"""Results and originals, B3HW RGB in [0, 1], to B values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """What is known of one metric before its weights are read."""

    name: str
    """Lower-case name, as in arguments and files."""
    title: str
    """Head of its column in a table."""
    load: Callable[[str | Path, str | torch.device], Score]
    """From the directory of the weight files and a device to the metric itself."""
    higher_is_better: bool
    needs_reference: bool
    """Whether it compares with the original."""
    weight_file: str | None = None
    """Name of the file it reads, if any."""


def _plain(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Score]:
    """The loader of a metric without weights."""
    return lambda _weights_dir, _device: _compare(function)


def _lpips(network: str) -> Callable[..., Score]:
    return lambda weights_dir, device: _compare(load_lpips(network, weights_dir, device))


def _niqe(plane: str) -> Callable[..., Score]:
    def load(weights_dir: str | Path, device: str | torch.device) -> Score:
        measure = load_niqe(weights_dir, plane, device)
        return lambda sr, _hr: measure(sr)

    return load


def _compare(function: Callable[[Tensor, Tensor], Tensor]) -> Score:
    """Refuse a missing original."""

    def score(sr: Tensor, hr: Tensor | None) -> Tensor:
        if hr is None:
            raise OptionError("the metric compares with an original picture, and there is none")
        return function(sr, hr)

    return score


_ROWS = (
    Metric(
        name="psnr_y",
        title="PSNR-Y",
        load=_plain(psnr_y),
        higher_is_better=True,
        needs_reference=True,
    ),
    Metric(
        name="ssim_y",
        title="SSIM-Y",
        load=_plain(ssim_y),
        higher_is_better=True,
        needs_reference=True,
    ),
    Metric(
        name="lpips_alex",
        title="LPIPS-alex",
        load=_lpips("alex"),
        higher_is_better=False,
        needs_reference=True,
        weight_file=NETWORKS["alex"].weight_file,
    ),
    Metric(
        name="lpips_squeeze",
        title="LPIPS-squeeze",
        load=_lpips("squeeze"),
        higher_is_better=False,
        needs_reference=True,
        weight_file=NETWORKS["squeeze"].weight_file,
    ),
    Metric(
        name="niqe",
        title="NIQE",
        load=_niqe("luma"),
        higher_is_better=False,
        needs_reference=False,
        weight_file=WEIGHT_FILE,
    ),
    Metric(
        name="niqe_gray",
        title="NIQE-gray",
        load=_niqe("gray"),
        higher_is_better=False,
        needs_reference=False,
        weight_file=WEIGHT_FILE,
    ),
)


def _index(rows: Iterable[Metric]) -> dict[str, Metric]:
    """The rows by name; a name that stands twice is our mistake."""
    metrics: dict[str, Metric] = {}
    for row in rows:
        assert row.name not in metrics, f"two metrics are called {row.name}"
        metrics[row.name] = row
    return metrics


METRICS = _index(_ROWS)
"""All metrics by name, in the order of the tables."""


def load_metrics(
    names: Iterable[str], weights_dir: str | Path, device: str | torch.device = "cpu"
) -> dict[str, Score]:
    """Load the metrics called `names`, in that order.

    Raises:
        OptionError: "there is no metric 'vmaf'; there are psnr_y, ssim_y...".
        ModelError: A weight file is missing or damaged.
    """
    scores = {}
    for name in names:
        if name not in METRICS:
            raise OptionError(f"there is no metric {name!r}; there are {', '.join(METRICS)}")
        scores[name] = METRICS[name].load(weights_dir, device)
    return scores
