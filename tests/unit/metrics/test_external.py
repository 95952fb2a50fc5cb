"""What goes to pyiqa and comes back; a stand-in takes its place, which needs no download."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from bimacosr.config.evaluate import MetricSettings
from bimacosr.errors import BackendError, OptionError
from bimacosr.metrics.registry import METRICS, SET_METRICS, find_metric

MODES = {
    "musiq": {"metric_mode": "NR"},
    "dists": {"metric_mode": "FR", "lower_better": True},
    "fid": {"metric_mode": "NR", "lower_better": True},
}


class StandIn:
    """A metric: the mean of the picture, or its mean distance; of folders, the number of files."""

    def __init__(self, name: str, device: torch.device) -> None:
        assert device == torch.device("cpu")
        print("Downloading...")
        self.name = name
        self.metric_mode = MODES.get(name, MODES["musiq"])["metric_mode"]

    def __call__(self, target: Any, ref: Any = None, **_: Any) -> Any:
        if self.name == "fid":
            counts = [len(list(Path(folder).iterdir())) for folder in (target, ref)]
            return float(10 * counts[0] + counts[1])
        assert len(target) == 1
        if self.metric_mode == "NR":
            assert ref is None
            return target.mean().reshape(1, 1)
        return (target - ref).abs().mean()


@pytest.fixture
def pyiqa(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    package: Any = ModuleType("pyiqa")
    package.create_metric = lambda name, device: StandIn(name, device)
    package.list_models = lambda: list(MODES)
    configs: Any = ModuleType("pyiqa.default_model_configs")
    configs.DEFAULT_CONFIGS = MODES
    monkeypatch.setitem(sys.modules, "pyiqa", package)
    monkeypatch.setitem(sys.modules, "pyiqa.default_model_configs", configs)
    return SimpleNamespace(package=package)


@pytest.mark.usefixtures("pyiqa")
def test_a_metric_without_an_original_ignores_it(capsys: pytest.CaptureFixture[str]) -> None:
    score = METRICS["musiq"].load(MetricSettings())
    pictures = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = pictures.mean((1, 2, 3)).double()
    torch.testing.assert_close(score(pictures, None), expected)
    torch.testing.assert_close(score(pictures, torch.zeros_like(pictures)), expected)
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("pyiqa")
def test_any_metric_of_pyiqa_is_described_by_it() -> None:
    metric = find_metric("pyiqa:dists")
    assert (metric.higher_is_better, metric.needs_reference) == (False, True)
    assert "Noncommercial" in str(metric.notice)
    score = metric.load(MetricSettings())
    a, b = torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), 0.25)
    assert score(a, b).tolist() == [0.25, 0.25]  # type: ignore[operator, union-attr]
    with pytest.raises(OptionError, match="dists compares with an original"):
        score(a, None)  # type: ignore[operator, arg-type]


@pytest.mark.usefixtures("pyiqa")
def test_fid_sees_the_files_of_both_sides(tmp_path: Path) -> None:
    files = [tmp_path / f"{side}{i}.png" for side in "ab" for i in range(2)]
    for file in files:
        Image.new("RGB", (8, 8)).save(file)
    score = SET_METRICS["fid"].load(MetricSettings())
    assert score(files, files[:3]) == 43


@pytest.mark.usefixtures("pyiqa")
@pytest.mark.parametrize("name", ["nonsense", "fid"])
def test_what_pyiqa_has_not_for_pictures_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match=f"pyiqa has no metric '{name}' of single pictures"):
        find_metric(f"pyiqa:{name}")


def test_without_pyiqa_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(BackendError, match=r"pip install 'bimacosr\[metrics\]'"):
        METRICS["musiq"].load(MetricSettings())


def test_a_failed_download_is_one_sentence(
    pyiqa: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, device: torch.device) -> None:
        raise OSError("no\nnetwork")

    monkeypatch.setattr(pyiqa.package, "create_metric", fail)
    with pytest.raises(BackendError, match=r"musiq ready \(OSError: no network\).* be online once"):
        METRICS["musiq"].load(MetricSettings())
