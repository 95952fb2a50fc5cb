"""Low-quality halves: each way by name, and what the settings refuse."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bimacosr.config.data import LowQualitySettings, low_quality
from bimacosr.config.degradation import camera_x4, mild_x4, realesrgan_x4
from bimacosr.data.degradation import degrade
from bimacosr.data.draws import Draws
from bimacosr.data.halves import make_halves
from bimacosr.data.sharpen import sharpen
from bimacosr.errors import OptionError
from tests.unit.data.conftest import photo_pixels


def photo(width: int = 80, height: int = 64) -> Tensor:
    return torch.from_numpy(photo_pixels(1, width, height)).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize(
    ("kind", "chain"),
    [("realesrgan", realesrgan_x4()), ("mild", mild_x4()), ("camera", camera_x4())],
)
def test_one_chain_is_the_degradation_itself(kind: str, chain: object) -> None:
    lq, hq = make_halves(photo(), low_quality(kind), Draws(3))
    assert torch.equal(hq, photo())
    assert torch.equal(lq, degrade(photo(), chain, Draws(3)))  # type: ignore[arg-type]


def test_mixed_chooses_by_the_shares() -> None:
    settings = low_quality("mixed")
    seen: Counter[int] = Counter()
    for seed in range(200):
        chosen = Draws(seed).one_of(range(2), settings.shares)
        seen[chosen] += 1
    assert settings.shares == pytest.approx((0.6, 0.4))
    for seed in (0, 1, 2, 3):
        draws = Draws(seed)
        chain = settings.chains[draws.one_of(range(2), settings.shares)]
        expected = degrade(photo(), chain, draws)
        assert torch.equal(make_halves(photo(), settings, Draws(seed))[0], expected)
    assert 90 < seen[0] < 150


@pytest.mark.parametrize("scale", [2, 4])
def test_bicubic_is_pillows(scale: int) -> None:
    lq, _ = make_halves(photo(), low_quality("bicubic", scale), Draws(0))
    image = Image.fromarray(photo_pixels(1, 80, 64))
    small = image.resize((80 // scale, 64 // scale), Image.Resampling.BICUBIC)
    off = (lq[0].permute(1, 2, 0) * 255).numpy() - np.asarray(small, np.float32)
    assert np.abs(off).max() <= 1.01  # Pillow rounds between rows and columns
    assert np.abs(off).mean() < 0.2


def test_the_sharpened_picture_is_source_and_target() -> None:
    settings = replace(low_quality("bicubic"), sharpen=True)
    lq, hq = make_halves(photo(), settings, Draws(0))
    assert torch.equal(hq, sharpen(photo()))
    assert torch.equal(lq, make_halves(hq, low_quality("bicubic"), Draws(0))[0])


@pytest.mark.parametrize("kind", ["mild", "bicubic"])
def test_enlarged_again(kind: str) -> None:
    settings = replace(low_quality(kind), resize_back=True)
    lq, hq = make_halves(photo(), settings, Draws(0))
    assert lq.shape == hq.shape
    assert torch.equal(lq, (lq * 255).round() / 255)


@pytest.mark.parametrize("kind", ["mild", "bicubic"])
def test_a_side_between_pixels(kind: str) -> None:
    with pytest.raises(OptionError, match="82x64 pixels; both must be multiples of 4"):
        make_halves(photo(82), low_quality(kind), Draws(0))


class TestSettings:
    def test_an_unknown_kind(self) -> None:
        with pytest.raises(OptionError, match="'heavy'; choose from realesrgan, mild, camera, mi"):
            low_quality("heavy")

    def test_a_scale_that_is_none(self) -> None:
        with pytest.raises(OptionError, match="scale is 0; it must be at least 1"):
            low_quality("bicubic", 0)

    def test_chains_and_shares_that_do_not_fit(self) -> None:
        with pytest.raises(OptionError, match="1 degradations but 2 shares"):
            LowQualitySettings(shares=(1.0, 2.0))
        with pytest.raises(OptionError, match=r"shares are \(0.0,\); each must be above 0"):
            LowQualitySettings(shares=(0.0,))
        with pytest.raises(OptionError, match="another scale than 2"):
            LowQualitySettings(scale=2)
