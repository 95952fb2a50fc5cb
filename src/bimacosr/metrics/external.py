"""Metrics that pyiqa computes: those whose networks are not ours to ship or to write again.

pyiqa (chaofengc/IQA-PyTorch) is an extra, `pip install 'bimacosr[metrics]'`, imported only when one
of its metrics is asked for; it downloads the weights of a metric at its first use.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from bimacosr.config.evaluate import MetricSettings
from bimacosr.errors import BackendError, OptionError
from bimacosr.metrics.metric import Metric, Score, SetScore

__all__ = ["NOTICE", "PREFIX", "external_metric", "load_external", "load_fid"]

PREFIX = "pyiqa:"
"""Begins the names of metrics that have no row of their own, such as "pyiqa:topiq_nr"."""

NOTICE = (
    "pyiqa computes some of these figures; its licence (PolyForm Noncommercial 1.0.0, and those of "
    "the networks) allows no commercial use"
)

_SETS = ("fid", "inception_score")  # what pyiqa computes of folders


def external_metric(name: str) -> Metric:
    """The row of pyiqa's metric `name`, as pyiqa describes it.

    Raises:
        OptionError: pyiqa has no such metric of single pictures.
        BackendError: pyiqa is not installed.
    """
    known = _pyiqa().list_models()
    if name not in known or any(word in name for word in _SETS):
        raise OptionError(
            f"pyiqa has no metric {name!r} of single pictures; "
            "python -c 'import pyiqa; print(pyiqa.list_models())' lists them"
        )
    facts = _configuration(name)
    return Metric(
        name=PREFIX + name,
        title=PREFIX + name,
        convention=f"pyiqa's {name} with its own settings",
        load=load_external(name),
        higher_is_better=not facts.get("lower_better", False),
        needs_reference=facts["metric_mode"] == "FR",
        digits=4,
        notice=NOTICE,
    )


def load_external(name: str) -> Callable[[MetricSettings], Score]:
    """The loader of pyiqa's metric `name`; pictures are measured one at a time.

    Raises:
        BackendError: from the loader, pyiqa is not installed or cannot have the metric's weights.
    """

    def load(settings: MetricSettings) -> Score:
        measure = _created(name, settings)
        compares = measure.metric_mode == "FR"
        turn = threading.Lock()  # nothing says that its networks may be shared

        def score(sr: Tensor, hr: Tensor | None) -> Tensor:
            if not compares:
                hr = None
            elif hr is None:
                raise OptionError(f"{name} compares with an original picture, and there is none")
            others = [None] * len(sr) if hr is None else hr.unbind()
            with turn, torch.no_grad():
                values = [
                    measure(a[None]) if b is None else measure(a[None], b[None])
                    for a, b in zip(sr.unbind(), others, strict=True)
                ]
            return torch.cat([value.reshape(1).double() for value in values])

        return score

    return load


def load_fid(settings: MetricSettings) -> SetScore:
    """Load FID of pyiqa (clean-fid's resizing): the distance of two sets of files.

    Raises:
        BackendError: pyiqa is not installed, or cannot have the weights of Inception.
    """
    measure = _created("fid", settings)

    def score(results: Sequence[Path], originals: Sequence[Path]) -> float:
        with tempfile.TemporaryDirectory() as name:
            folders = [Path(name) / role for role in ("sr", "hr")]
            for folder, files in zip(folders, (results, originals), strict=True):
                folder.mkdir()
                for i, file in enumerate(files):
                    (folder / f"{i:06}{file.suffix.lower()}").write_bytes(file.read_bytes())
            with redirect_stdout(StringIO()):
                return float(measure(*map(str, folders), num_workers=0, verbose=False))

    return score


def _pyiqa() -> ModuleType:
    try:
        import pyiqa
    except Exception as error:  # its many dependencies fail in many ways
        raise BackendError(
            f"this metric needs pyiqa ({type(error).__name__}: {_line(error)}): "
            "pip install 'bimacosr[metrics]'"
        ) from error
    module: ModuleType = pyiqa
    return module


def _configuration(name: str) -> dict[str, Any]:
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    facts: dict[str, Any] = DEFAULT_CONFIGS[name]
    return facts


def _created(name: str, settings: MetricSettings) -> Any:
    """pyiqa's metric on the device; what it prints meanwhile is no figure of ours."""
    pyiqa = _pyiqa()
    try:
        with redirect_stdout(StringIO()):
            return pyiqa.create_metric(name, device=torch.device(settings.device))
    except Exception as error:
        raise BackendError(
            f"pyiqa cannot make {name} ready ({type(error).__name__}: {_line(error)}); it "
            "downloads weights at the first use, so be online once"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
