"""What the official evaluation measures, beside our metrics (`metric.json` is told in words)."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import torch

from bimacosr.metrics.color import luma
from bimacosr.metrics.psnr import psnr_y
from bimacosr.metrics.registry import METRICS, find_metric
from bimacosr.metrics.ssim import ssim_y
from tests.golden import reference as ref

OURS = {"PSNR": "psnr_y", "SSIM": "ssim_y", "LPIPS": "lpips_alex", "NIQE": "niqe"}
# of the official table: each needs the weights of another network, all but DISTS through pyiqa
OTHERS = ("DISTS", "CLIPIQA", "CLIPIQA+", "MUSIQ", "MANIQA", "FID")


def program() -> dict[str, Any]:
    told: dict[str, Any] = ref.meta("metric")["metric.py"]
    return told


def test_each_official_metric_is_found_by_its_official_name() -> None:
    assert set(program()["metrics"]) == {*OURS, *OTHERS}
    assert set(program()["flags"]["--metrics"].split()) == {*OURS, *OTHERS}
    assert {name: find_metric(name).name for name in OURS} == OURS
    assert [name for name in OTHERS if find_metric(name).notice is None] == ["DISTS"]


def test_maniqa_is_the_one_of_pipal() -> None:
    assert "maniqa-pipal" in program()["metrics"]["MANIQA"]
    assert "maniqa-pipal" in find_metric("MANIQA").convention


@pytest.mark.parametrize(("name", "function"), [("PSNR", psnr_y), ("SSIM", ssim_y)])
def test_luma_without_a_border(name: str, function: Any) -> None:
    told = program()["metrics"][name]
    assert "test_y_channel=True" in told
    assert "no border crop" in told
    defaults = inspect.signature(function).parameters
    assert defaults["border_px"].default == 0


def test_lpips_is_of_the_same_network() -> None:
    assert "default network: alex" in program()["metrics"]["LPIPS"]
    assert METRICS[OURS["LPIPS"]].title == "LPIPS-alex"


def test_the_metrics_of_the_inference_script_are_among_them() -> None:
    told = ref.meta("metric")["evaluate.py (called by inference_quant.py)"]
    compared = {name.split()[0].upper() for name in told["metrics_with_reference"]}
    assert compared == {name for name in OURS if METRICS[OURS[name]].needs_reference}
    alone = {name.upper() for name in told["metrics_without_reference"]}
    assert alone == {"CLIPIQA", "MUSIQ"} <= set(OTHERS)


def test_formula_of_the_luma() -> None:
    """Y = (65.481 R + 128.553 G + 24.966 B + 16)/255 with RGB in [0,1]."""
    told = ref.meta("metric")["ycbcr_y"]
    found = re.fullmatch(r"Y = \((\S+) R \+ (\S+) G \+ (\S+) B \+ (\S+)\)/255 with .*", told)
    assert found is not None
    *weights, offset = map(float, found.groups())
    rgb = torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    red, green, blue = rgb.unbind(1)
    wanted = weights[0] * red + weights[1] * green + weights[2] * blue + offset
    torch.testing.assert_close(luma(rgb, rounded=False)[:, 0], wanted, rtol=1e-12, atol=0)


def test_psnr_of_the_training_script() -> None:
    """Luma of the unrounded pictures, rounded to 8 bits, then the mean over pictures."""
    told = ref.meta("metric")["trainer validation"]
    assert "PSNR = mean over images of 8-bit (img_as_ubyte) Y PSNR" in told
    generator = torch.Generator().manual_seed(1)
    hr = (torch.rand(3, 3, 16, 16, generator=generator) * 255).round() / 255
    sr = ((hr * 255 + 9 * torch.randn(hr.shape, generator=generator)).round() / 255).clamp(0, 1)
    planes = [luma(t, rounded=False).round() for t in (sr, hr)]
    by_rule = 10 * (255**2 / (planes[0] - planes[1]).square().mean((1, 2, 3))).log10()
    torch.testing.assert_close(psnr_y(sr, hr), by_rule, rtol=1e-9, atol=0)
