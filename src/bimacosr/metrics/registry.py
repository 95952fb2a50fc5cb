"""Every metric by name: an explicit list, one row each.

All metrics are loaded and called alike, `metric.load(settings)(sr, hr)`; those that need no
original ignore `hr`. To add a metric, write its file and add its row; the row's `convention` is
what users read of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from bimacosr.config.evaluate import MetricSettings
from bimacosr.errors import OptionError
from bimacosr.metrics import external, grid
from bimacosr.metrics.colour_shift import colour_shift
from bimacosr.metrics.dists import WEIGHT_FILES as DISTS_FILES
from bimacosr.metrics.dists import load_dists
from bimacosr.metrics.lpips import NETWORKS, load_lpips
from bimacosr.metrics.metric import (
    Metric,
    Score,
    SetMetric,
    alone,
    compared,
    largest_mean,
    worst_median,
)
from bimacosr.metrics.niqe import WEIGHT_FILE as NIQE_FILE
from bimacosr.metrics.niqe import load_niqe
from bimacosr.metrics.psnr import psnr_y
from bimacosr.metrics.ssim import ssim_y

__all__ = ["METRICS", "SET_METRICS", "find_metric", "load_metrics"]


def _bordered(function: Callable[..., torch.Tensor]) -> Callable[[MetricSettings], Score]:
    """The loader of a comparison that leaves a border out."""
    return lambda settings: compared(partial(function, border_px=settings.border_px))


def _lpips(network: str) -> Callable[[MetricSettings], Score]:
    return lambda settings: compared(load_lpips(network, settings.weights, settings.device))


def _niqe(plane: str) -> Callable[[MetricSettings], Score]:
    return lambda settings: alone(load_niqe(settings.weights, plane, settings.device))


_Y = "Y of YCbCr (BT.601, 16 to 235), pictures and Y rounded to 8 bits"
_LPIPS = "LPIPS 0.1 on {}, RGB in [-1, 1], whole pictures at their own size"
_PRINT = "dB over the spectrum beside it; per frequency the median of the pictures, then the worst"

_ROWS = (
    Metric(
        name="psnr_y",
        title="PSNR-Y",
        convention=f"dB, {_Y}, peak 255",
        load=_bordered(psnr_y),
        higher_is_better=True,
        needs_reference=True,
    ),
    Metric(
        name="ssim_y",
        title="SSIM-Y",
        convention=f"{_Y}; 11x11 Gaussian window, sigma 1.5, without those over the edge",
        load=_bordered(ssim_y),
        higher_is_better=True,
        needs_reference=True,
        digits=4,
    ),
    Metric(
        name="lpips_alex",
        title="LPIPS-alex",
        convention=_LPIPS.format("AlexNet"),
        load=_lpips("alex"),
        higher_is_better=False,
        needs_reference=True,
        weight_files=(NETWORKS["alex"].weight_file,),
        digits=4,
    ),
    Metric(
        name="lpips_squeeze",
        title="LPIPS-squeeze",
        convention=_LPIPS.format("SqueezeNet 1.1"),
        load=_lpips("squeeze"),
        higher_is_better=False,
        needs_reference=True,
        weight_files=(NETWORKS["squeeze"].weight_file,),
        digits=4,
    ),
    Metric(
        name="lpips_vgg",
        title="LPIPS-vgg",
        convention=_LPIPS.format("VGG16"),
        load=_lpips("vgg"),
        higher_is_better=False,
        needs_reference=True,
        weight_files=(NETWORKS["vgg"].weight_file,),
        digits=4,
    ),
    Metric(
        name="dists",
        title="DISTS",
        convention="VGG16 with Hanning pooling, RGB in [0, 1], whole pictures at their own size",
        load=lambda settings: compared(load_dists(settings.weights, settings.device)),
        higher_is_better=False,
        needs_reference=True,
        weight_files=DISTS_FILES,
        digits=4,
    ),
    Metric(
        name="niqe",
        title="NIQE",
        convention=f"{_Y} (BasicSR's), blocks of 96x96 px, two scales",
        load=_niqe("luma"),
        higher_is_better=False,
        needs_reference=False,
        weight_files=(NIQE_FILE,),
    ),
    Metric(
        name="niqe_gray",
        title="NIQE-gray",
        convention="MATLAB's rgb2gray, rounded (pyiqa's), blocks of 96x96 px, two scales",
        load=_niqe("gray"),
        higher_is_better=False,
        needs_reference=False,
        weight_files=(NIQE_FILE,),
    ),
    Metric(
        name="lines",
        title="lines",
        convention=f"periods of 4 and 2 px in rows and columns, {_PRINT}",
        load=lambda _: alone(grid.each_picture(grid.line_peaks)),
        higher_is_better=False,
        needs_reference=False,
        digits=1,
        pool=worst_median,
    ),
    Metric(
        name="lattice",
        title="lattice",
        convention=f"periods of 4 and 2 px in blocks of 64x64, {_PRINT}",
        load=lambda _: alone(grid.each_picture(grid.lattice_peaks)),
        higher_is_better=False,
        needs_reference=False,
        digits=1,
        pool=worst_median,
    ),
    Metric(
        name="colour_lattice",
        title="colour lattice",
        convention="the same of B - Y and R - Y, the stronger",
        load=lambda _: alone(grid.each_picture(grid.colour_lattice_peaks)),
        higher_is_better=False,
        needs_reference=False,
        digits=1,
        pool=worst_median,
    ),
    Metric(
        name="colour_shift",
        title="colour shift",
        convention="mean of R, G, B less the original's, of 255; over the pictures, then the worst",
        load=lambda _: compared(colour_shift),
        higher_is_better=False,
        needs_reference=True,
        pool=largest_mean,
    ),
    *(
        Metric(
            name=name,
            title=title,
            convention=f"pyiqa's {model}",
            load=external.load_external(model),
            higher_is_better=True,
            needs_reference=False,
            digits=4,
            notice=external.NOTICE,
        )
        for name, title, model in (
            ("musiq", "MUSIQ", "musiq"),
            ("maniqa", "MANIQA", "maniqa-pipal"),
            ("clipiqa", "CLIP-IQA", "clipiqa"),
            ("clipiqa_plus", "CLIP-IQA+", "clipiqa+"),
        )
    ),
)

_SET_ROWS = (
    SetMetric(
        name="fid",
        title="FID",
        convention="pyiqa's fid of the files of results and originals",
        load=external.load_fid,
        higher_is_better=False,
        notice=external.NOTICE,
    ),
)

_ALIASES = {
    "psnr": "psnr_y",
    "ssim": "ssim_y",
    "lpips": "lpips_alex",
    "clipiqa+": "clipiqa_plus",
}

AnyMetric = TypeVar("AnyMetric", Metric, SetMetric)


def _index(rows: Iterable[AnyMetric]) -> dict[str, AnyMetric]:
    """The rows by name; a name that stands twice is our mistake."""
    metrics: dict[str, AnyMetric] = {}
    for row in rows:
        assert row.name not in metrics, f"two metrics are called {row.name}"
        metrics[row.name] = row
    return metrics


METRICS = _index(_ROWS)
"""All metrics of single pictures by name, in the order of the tables."""

SET_METRICS = _index(_SET_ROWS)
"""All metrics of two sets of pictures by name."""


def find_metric(name: str) -> Metric | SetMetric:
    """The row that a user means: a name as above in any case, a short one, or "pyiqa:NAME".

    Raises:
        OptionError: "there is no metric 'vmaf'; there are psnr_y, ssim_y...".
        BackendError: the name begins with "pyiqa:", and pyiqa is not installed.
    """
    word = name.strip().lower()
    if word.startswith(external.PREFIX):
        return external.external_metric(word.removeprefix(external.PREFIX))
    word = _ALIASES.get(word, word.replace("-", "_"))
    found = METRICS.get(word) or SET_METRICS.get(word)
    if found is None:
        names = ", ".join([*METRICS, *SET_METRICS])
        raise OptionError(
            f"there is no metric {name!r}; there are {names}, and {external.PREFIX}NAME"
        )
    return found


def load_metrics(
    names: Iterable[str],
    weights_dir: str | Path | None = None,
    device: str | torch.device = "cpu",
) -> dict[str, Score]:
    """Load the metrics of single pictures called `names`, in that order, without a border.

    Raises:
        OptionError: "there is no metric 'vmaf'; there are psnr_y, ssim_y...".
        ModelError: A weight file is missing or damaged.
    """
    directory = None if weights_dir is None else Path(weights_dir)
    settings = MetricSettings(weights_dir=directory, device=str(device))
    scores = {}
    for name in names:
        metric = find_metric(name)
        if isinstance(metric, SetMetric):
            raise OptionError(f"{metric.name} is a metric of sets, not of single pictures")
        scores[metric.name] = metric.load(settings)
    return scores
