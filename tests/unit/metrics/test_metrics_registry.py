from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from bimacosr.config.evaluate import MetricSettings
from bimacosr.errors import ModelError, OptionError
from bimacosr.metrics.metric import mean
from bimacosr.metrics.registry import METRICS, SET_METRICS, _index, find_metric, load_metrics

# computed here, from files that are in shared/weights
OWN = [n for n, row in METRICS.items() if not row.notice and n not in ("lpips_vgg", "dists")]


def test_rows_are_called_by_their_names_and_have_their_own_titles() -> None:
    assert list(METRICS) == [row.name for row in METRICS.values()]
    assert len({row.title for row in METRICS.values()}) == len(METRICS)


def test_a_name_stands_once() -> None:
    row = METRICS["psnr_y"]
    with pytest.raises(AssertionError, match="two metrics are called psnr_y"):
        _index([row, row])


def test_metrics_without_weights_load_from_nowhere(tmp_path: Path) -> None:
    plain = [n for n, row in METRICS.items() if not row.weight_files and not row.notice]
    assert list(load_metrics(plain, tmp_path)) == plain
    assert plain[:2] == ["psnr_y", "ssim_y"]


@pytest.mark.parametrize("name", [n for n, row in METRICS.items() if row.weight_files])
def test_a_missing_weight_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{METRICS[name].weight_files[0]} is missing"):
        load_metrics([name], tmp_path)


def test_the_environment_names_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIMACOSR_METRIC_WEIGHTS", raising=False)
    with pytest.raises(ModelError, match=r"niqe.safetensors is needed, .*BIMACOSR_METRIC_WEIGHTS"):
        load_metrics(["niqe"])
    monkeypatch.setenv("BIMACOSR_METRIC_WEIGHTS", str(tmp_path))
    with pytest.raises(ModelError, match=f"{tmp_path}.* is missing"):
        load_metrics(["niqe"])


@pytest.mark.parametrize(
    ("word", "name"),
    [("psnr", "psnr_y"), ("SSIM", "ssim_y"), ("lpips", "lpips_alex"), ("CLIPIQA+", "clipiqa_plus"),
     ("colour-lattice", "colour_lattice"), ("FID", "fid"), ("DISTS", "dists")],
)  # fmt: skip
def test_a_metric_is_found_by_what_people_call_it(word: str, name: str) -> None:
    assert find_metric(word) is {**METRICS, **SET_METRICS}[name]


def test_the_border_is_left_out_by_psnr_and_ssim() -> None:
    hr = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    sr = hr.clone()
    sr[..., :4, :] = 0
    for name, equal in (("psnr_y", float("inf")), ("ssim_y", 1)):
        whole, inner = (METRICS[name].load(MetricSettings(border_px=b)) for b in (0, 4))
        assert whole(sr, hr).item() < equal
        assert inner(sr, hr).item() == pytest.approx(equal)


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
    known = [name for name in OWN if METRICS[name].pool is mean]
    scores = load_metrics(known, weights_dir)
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
        for name, score in load_metrics(OWN, weights_dir).items():
            if name not in oracle:  # grid peaks and colours have tests of their own
                continue
            assert float(score(sr, hr)) == pytest.approx(float(oracle[name](sr, hr)), abs=1e-6)
