"""The picture-space losses at pictures whose value is known."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bimacosr.train.losses import flat_area_loss, gaussian_blur, phase_loss, shifted_blurred


def random_picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestGaussianBlur:
    def test_a_point_becomes_the_gaussian(self) -> None:
        x = torch.zeros(1, 2, 15, 17, dtype=torch.float64)
        x[:, 1, 7, 8] = 1
        y = gaussian_blur(x, 1.5)
        assert not y[:, 0].any()
        taps = torch.tensor([math.exp(-(k**2) / (2 * 1.5**2)) for k in range(-4, 5)])
        taps = taps.double() / taps.sum()
        spot = torch.outer(taps, taps)
        torch.testing.assert_close(y[0, 1, 3:12, 4:13], spot, rtol=1e-6, atol=1e-9)
        assert y.sum() == pytest.approx(1)
        assert int((y[0, 1] > 0).sum()) == 81  # three sigmas, rounded

    def test_a_flat_picture_stays_flat_up_to_the_edges(self) -> None:
        x = torch.full((1, 3, 12, 12), 0.3, dtype=torch.float64)
        torch.testing.assert_close(gaussian_blur(x, 2.0), x)

    def test_a_stronger_blur_leaves_less_detail(self) -> None:
        x = random_picture(1, 3, 40, 40)
        spreads = [float(gaussian_blur(x, sigma).std()) for sigma in (0.3, 0.6, 1.2, 2.4)]
        assert spreads == sorted(spreads, reverse=True)

    def test_twice_is_once_with_added_variances(self) -> None:
        x = random_picture(1, 1, 64, 64)
        twice = gaussian_blur(gaussian_blur(x, 3.0), 4.0)[..., 24:-24, 24:-24]
        once = gaussian_blur(x, 5.0)[..., 24:-24, 24:-24]
        assert (twice - once).abs().max() < 0.005


class TestPhaseLoss:
    def test_no_error_and_even_error_cost_nothing(self) -> None:
        hr = random_picture(2, 3, 48, 48)
        assert phase_loss(hr, hr) == 0
        assert float(phase_loss(hr + 0.2, hr)) == pytest.approx(0, abs=1e-12)

    def test_a_lattice_costs_what_it_deviates_from_its_mean(self) -> None:
        hr = random_picture(1, 3, 48, 48)
        sr = hr.clone()
        sr[:, :, 2::4, 1::4] += 0.5
        # one phase of 16 is 15/16 off the mean of all, fifteen are 1/16 off
        wanted = 0.5 * (15 / 16 + 15 * 1 / 16) / 16
        assert float(phase_loss(sr, hr)) == pytest.approx(wanted)

    def test_a_lattice_of_the_truth_is_no_error(self) -> None:
        hr = random_picture(1, 3, 48, 48)
        hr[:, :, 2::4, 1::4] += 0.5
        assert phase_loss(hr, hr) == 0

    def test_detail_that_is_no_lattice_averages_out(self) -> None:
        hr = torch.zeros(1, 3, 192, 192, dtype=torch.float64)
        noise = random_picture(1, 3, 192, 192) - 0.5
        lattice = torch.zeros_like(noise)
        lattice[:, :, ::4, ::4] = noise.abs().mean() * 16
        assert phase_loss(hr + noise, hr) < 0.1 * phase_loss(hr + lattice, hr)

    def test_colours_do_not_make_up_for_each_other(self) -> None:
        hr = torch.zeros(1, 3, 48, 48, dtype=torch.float64)
        sr = hr.clone()
        sr[:, 0, ::4, ::4], sr[:, 1, ::4, ::4] = 0.5, -0.5
        assert phase_loss(sr, hr) > 0.03

    def test_a_picture_smaller_than_the_window(self) -> None:
        hr = torch.zeros(1, 3, 8, 12, dtype=torch.float64)
        sr = hr.clone()
        sr[:, :, ::4, ::4] = 1.0
        assert float(phase_loss(sr, hr)) == pytest.approx(30 / 256)


class TestFlatAreaLoss:
    def test_no_error_costs_nothing(self) -> None:
        hr = random_picture(1, 3, 32, 32)
        assert flat_area_loss(hr, hr) == 0

    def test_on_a_flat_area_it_is_the_mean_of_the_grain(self) -> None:
        hr = torch.full((1, 3, 48, 48), 0.5, dtype=torch.float64)
        sr = hr + 0.1 * (random_picture(1, 3, 48, 48) - 0.5)
        grain = (sr - gaussian_blur(sr, 1.5)).abs().mean()
        assert float(flat_area_loss(sr, hr)) == pytest.approx(float(grain))

    def test_a_wrong_level_is_no_grain(self) -> None:
        hr = torch.full((1, 3, 48, 48), 0.5, dtype=torch.float64)
        assert float(flat_area_loss(hr + 0.2, hr)) == pytest.approx(0, abs=1e-12)

    def test_on_a_busy_area_grain_is_free(self) -> None:
        grain = 0.1 * (random_picture(1, 3, 64, 64) - 0.5)
        flat = torch.full((1, 3, 64, 64), 0.5, dtype=torch.float64)
        busy = random_picture(1, 3, 64, 64, seed=1)
        assert flat_area_loss(busy + grain, busy) < 1e-4 * flat_area_loss(flat + grain, flat)

    def test_weight_falls_to_1_over_e_at_the_quiet_level(self) -> None:
        stripes = (torch.arange(64, dtype=torch.float64) % 2 - 0.5).expand(1, 3, 64, 64)
        inside = (..., slice(20, 44), slice(20, 44))
        level = float((stripes - gaussian_blur(stripes, 1.5)).abs()[inside].mean())
        hr = stripes * 0.012 / level
        sr = 2 * hr
        weighted = float(flat_area_loss(sr, hr, quiet=0.012))
        assert weighted == pytest.approx(0.012 / math.e, rel=0.02)


class TestShiftedBlurred:
    def test_shift_moves_by_whole_pixels(self) -> None:
        x = random_picture(1, 3, 30, 32)
        y = shifted_blurred(x, (2, 5), 0.8)
        assert y.shape == (1, 3, 28, 27)
        assert torch.equal(y, gaussian_blur(x[..., 2:, 5:], 0.8))
        assert torch.equal(shifted_blurred(x, (0, 0), 0.8), gaussian_blur(x, 0.8))

    def test_gradients_reach_the_picture(self) -> None:
        x = random_picture(1, 3, 20, 20).requires_grad_()
        F.mse_loss(shifted_blurred(x, (1, 1), 0.5), torch.zeros(1, 3, 19, 19).double()).backward()
        assert x.grad is not None
        assert not x.grad[..., 0, :].any()
        assert x.grad[..., 1:, 1:].all()
