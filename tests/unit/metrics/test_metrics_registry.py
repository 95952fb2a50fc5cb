from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from bimacosr.errors import ModelError, OptionError
from bimacosr.metrics.registry import METRICS, _index, load_metrics


def test_rows_are_called_by_their_names_and_have_their_own_titles() -> None:
    assert list(METRICS) == [row.name for row in METRICS.values()]
    assert len({row.title for row in METRICS.values()}) == len(METRICS)


def test_a_name_stands_once() -> None:
    row = METRICS["psnr_y"]
    with pytest.raises(AssertionError, match="two metrics are called psnr_y"):
        _index([row, row])


def test_metrics_without_weights_load_from_nowhere(tmp_path: Path) -> None:
    plain = [name for name, row in METRICS.items() if row.weight_file is None]
    assert list(load_metrics(plain, tmp_path)) == plain == ["psnr_y", "ssim_y"]


@pytest.mark.parametrize("name", [n for n, row in METRICS.items() if row.weight_file])
def test_a_missing_weight_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{METRICS[name].weight_file} is missing"):
        load_metrics([name], tmp_path)


def test_an_unknown_metric_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no metric 'vmaf'; there are psnr_y, ssim_y"):
        load_metrics(["vmaf"], tmp_path)


def test_a_comparison_without_an_original_is_refused(tmp_path: Path) -> None:
    score = load_metrics(["psnr_y"], tmp_path)["psnr_y"]
    with pytest.raises(OptionError, match="original"):
        score(torch.zeros(1, 3, 16, 16), None)


def test_rows_say_truly_what_is_better_and_what_needs_an_original(
    weights_dir: Path, bicubic_pairs: list[tuple[Tensor, Tensor]]
) -> None:
    scores = load_metrics(METRICS, weights_dir)
    sr, hr = bicubic_pairs[0]
    with torch.no_grad():
        for name, score in scores.items():
            worse, better = score(sr, hr), score((sr + 3 * hr) / 4, hr)
            assert worse.shape == (1,)
            assert (better > worse).item() == METRICS[name].higher_is_better, name
            if not METRICS[name].needs_reference:
                assert score(sr, None) == worse


def test_the_registry_gives_the_oracles_values(
    weights_dir: Path, metrics_oracle: ModuleType, bicubic_pairs: list[tuple[Tensor, Tensor]]
) -> None:
    oracle = metrics_oracle.load_metrics(weights_dir)
    sr, hr = bicubic_pairs[-1]
    with torch.no_grad():
        for name, score in load_metrics(METRICS, weights_dir).items():
            assert float(score(sr, hr)) == pytest.approx(float(oracle[name](sr, hr)), abs=1e-6)
