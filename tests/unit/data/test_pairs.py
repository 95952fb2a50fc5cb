"""Pairs: both halves show the same place, and the target is what was degraded."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bimacosr.config.degradation import DegradationSettings, mild_x4, realesrgan_x4
from bimacosr.data.degradation import degrade
from bimacosr.data.draws import Draws
from bimacosr.data.pairs import crop_pair, make_pair
from bimacosr.data.sharpen import sharpen
from bimacosr.errors import OptionError


def photo(batch: int = 2, height: int = 64, width: int = 80) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    waves = [0.5 + 0.4 * torch.sin(x / 5 + k) * torch.cos(y / (4 + k)) for k in range(3 * batch)]
    return torch.stack(waves).reshape(batch, 3, height, width)


def places(height: int, width: int) -> Tensor:
    """A picture whose values tell where they are: row * 1000 + column."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None, :]
    return (rows * 1000.0 + columns).expand(1, 3, height, width)


class TestCrop:
    def test_both_halves_show_the_same_place(self) -> None:
        hq = places(64, 80)
        lq = hq[..., ::4, ::4]
        for seed in range(10):
            small, large = crop_pair(lq, hq, 24, Draws(seed))
            assert small.shape == (1, 3, 6, 6)
            assert large.shape == (1, 3, 24, 24)
            assert torch.equal(small, large[..., ::4, ::4])

    def test_every_place_is_met(self) -> None:
        hq = places(16, 20)
        seen = Counter(
            int(crop_pair(hq[..., ::4, ::4], hq, 12, Draws(seed))[1][0, 0, 0, 0])
            for seed in range(200)
        )
        assert set(seen) == {row * 1000 + column for row in (0, 4) for column in (0, 4, 8)}
        assert min(seen.values()) > 15

    def test_pictures_of_one_size(self) -> None:
        hq = places(10, 10)
        small, large = crop_pair(hq + 0.5, hq, 7, Draws(3))
        assert torch.equal(small, large + 0.5)

    def test_the_whole_picture(self) -> None:
        hq = places(16, 16)
        assert torch.equal(crop_pair(hq[..., ::4, ::4], hq, 16, Draws(0))[1], hq)

    def test_a_crop_that_does_not_fit(self) -> None:
        hq = places(16, 20)
        with pytest.raises(OptionError, match=r"a crop of 20 pixels does not fit into a .* 20x16"):
            crop_pair(hq[..., ::4, ::4], hq, 20, Draws(0))

    @pytest.mark.parametrize("size", [0, -4, 10])
    def test_a_crop_between_pixels(self, size: int) -> None:
        hq = places(16, 20)
        with pytest.raises(OptionError, match=rf"the crop is {size} pixels; .* multiple of 4"):
            crop_pair(hq[..., ::4, ::4], hq, size, Draws(0))


def quiet() -> DegradationSettings:
    """The mild chain without its strongest steps."""
    return replace(mild_x4(), second_probability=0.0, final_sinc_probability=0.0)


class TestPair:
    def test_it_is_the_degradation_and_its_picture(self) -> None:
        lq, target = make_pair(photo(), realesrgan_x4(), Draws(4), crop_px=64)
        # one row fits and five columns do
        alone = degrade(photo(), realesrgan_x4(), Draws(4))
        found = [k for k in range(5) if torch.equal(lq, alone[..., k : k + 16])]
        assert len(found) == 1
        assert torch.equal(target, photo()[..., 4 * found[0] : 4 * found[0] + 64])

    def test_the_sharpened_picture_is_target_and_source(self) -> None:
        hq = photo(1, 64, 64)
        lq, target = make_pair(hq, quiet(), Draws(1), crop_px=64, sharp=True)
        assert torch.equal(target, sharpen(hq))
        assert torch.equal(lq, degrade(sharpen(hq), quiet(), Draws(1)))
        assert not torch.equal(target, hq)

    def test_enlarged_again_it_has_the_size_of_the_target_and_8_bits(self) -> None:
        hq = photo(1, 64, 64)
        lq, target = make_pair(hq, quiet(), Draws(2), crop_px=48, resize_back=True)
        assert lq.shape == target.shape == (1, 3, 48, 48)
        assert torch.equal(lq, (lq * 255).round() / 255)
        assert lq.min() >= 0
        assert lq.max() <= 1
        pair = torch.stack([lq.flatten(), target.flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.9

    def test_it_is_enlarged_before_it_is_rounded(self) -> None:
        hq = photo(1, 64, 64)
        back = degrade(hq, quiet(), Draws(2), resize_back=True)
        rounded = degrade(hq, quiet(), Draws(2))
        twice = F.interpolate(rounded, scale_factor=4, mode="bicubic").clamp(0, 1)
        off = (back - twice).abs() * 255
        assert off.max() < 1.5  # the same picture
        assert off.max() > 0.501  # but not rounded twice
