"""The degradation: its steps one by one, and the whole chain on any draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bimacosr.config.degradation import (
    BlurSettings,
    DegradationSettings,
    StageSettings,
    camera_x4,
    mild_x4,
    realesrgan_x4,
)
from bimacosr.data.degradation import (
    add_gaussian_noise,
    add_poisson_noise,
    blur,
    degrade,
    resize,
    round_to_8_bits,
)
from bimacosr.data.draws import Draws
from bimacosr.errors import OptionError


def photo(batch: int = 2, height: int = 64, width: int = 80) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    waves = [0.5 + 0.4 * torch.sin(x / 9 + k) * torch.cos(y / (7 + k)) for k in range(3 * batch)]
    return torch.stack(waves).reshape(batch, 3, height, width)


class TestBlur:
    def test_a_pulse_changes_nothing(self) -> None:
        pulse = torch.zeros(2, 5, 5)
        pulse[:, 2, 2] = 1
        torch.testing.assert_close(blur(photo(), pulse), photo())

    def test_each_picture_has_its_own_kernel_and_it_is_not_turned_round(self) -> None:
        kernels = torch.zeros(2, 3, 3)
        kernels[0, 1, 2] = kernels[1, 0, 1] = 1  # one takes its right, the other its upper pixel
        done = blur(photo(), kernels)
        torch.testing.assert_close(done[0, :, :, :-1], photo()[0, :, :, 1:])
        torch.testing.assert_close(done[1, :, 1:], photo()[1, :, :-1])

    def test_edges_are_reflected(self) -> None:
        kernels = torch.zeros(2, 3, 3)
        kernels[:, 1, 2] = 1
        done = blur(photo(), kernels)
        torch.testing.assert_close(done[..., -1], photo()[..., -2])

    def test_a_flat_picture_stays_flat(self) -> None:
        kernels = torch.rand(1, 21, 21)
        kernels /= kernels.sum()
        flat = torch.full((1, 3, 30, 30), 0.7)
        torch.testing.assert_close(blur(flat, kernels), flat)

    def test_a_picture_smaller_than_half_the_kernel(self) -> None:
        message = "a picture of 11x10 pixels is too small for a blur kernel of 21x21"
        with pytest.raises(OptionError, match=message):
            blur(torch.zeros(1, 3, 10, 11), torch.zeros(1, 21, 21))
        assert blur(torch.zeros(1, 3, 11, 11), torch.zeros(1, 21, 21)).shape[2:] == (11, 11)


class TestResize:
    def test_by_a_factor_the_size_is_rounded_down(self) -> None:
        assert resize(photo(), 0.37, "bilinear").shape == (2, 3, 23, 29)
        assert resize(photo(), (23, 30), "bilinear").shape == (2, 3, 23, 30)

    @pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
    def test_by_a_factor_pixels_lie_at_their_place_divided_by_it(self, mode: str) -> None:
        ramp = torch.arange(64.0).expand(1, 1, 8, 64) / 64
        places = (torch.arange(24 - 1) + 0.5) / 0.37 - 0.5
        done = resize(ramp, 0.37, mode)[0, 0, 0]
        torch.testing.assert_close(done[2:-2], places[2:-2] / 64, atol=2e-3, rtol=0)

    def test_a_factor_that_leaves_nothing(self) -> None:
        message = "a picture of 9x6 pixels has none left when resized by 0.15"
        with pytest.raises(OptionError, match=message):
            resize(photo(1, 6, 9), 0.15, "area")
        assert resize(photo(1, 7, 9), 0.15, "area").shape == (1, 3, 1, 1)


def test_rounding_to_8_bits_clips_and_takes_halves_to_even() -> None:
    values = torch.tensor([-0.2, 0.0, 0.5 / 255, 1.5 / 255, 0.999, 1.3], dtype=torch.float64)
    assert (round_to_8_bits(values) * 255).tolist() == pytest.approx([0, 0, 0, 2, 255, 255])


class TestGaussianNoise:
    def test_strength_is_in_parts_of_255(self) -> None:
        grey = torch.full((1, 3, 200, 200), 0.5)
        noise = add_gaussian_noise(grey, (12.0, 12.0), 0.0, Draws(0)) - grey
        assert float(noise.std() * 255) == pytest.approx(12, rel=0.02)
        assert float(noise.mean() * 255) == pytest.approx(0, abs=0.2)

    def test_strengths_are_spread_over_the_range(self) -> None:
        grey = torch.full((300, 3, 12, 12), 0.5)
        noise = add_gaussian_noise(grey, (1.0, 30.0), 0.0, Draws(0)) - grey
        found = noise.flatten(1).std(1) * 255
        assert 0.8 < found.min() < 2
        assert 28 < found.max() < 33
        assert float(found.mean()) == pytest.approx(15.5, abs=1.5)

    def test_colours_are_alike_only_in_grey_noise(self) -> None:
        grey = torch.full((1, 3, 40, 40), 0.5)
        alike = add_gaussian_noise(grey, (10.0, 10.0), 1.0, Draws(0)) - grey
        assert torch.equal(alike[:, 0], alike[:, 1])
        assert torch.equal(alike[:, 0], alike[:, 2])
        apart = add_gaussian_noise(grey, (10.0, 10.0), 0.0, Draws(0)) - grey
        assert abs(float(torch.corrcoef(apart[0].flatten(1))[0, 1])) < 0.1

    def test_share_of_grey_pictures(self) -> None:
        grey = torch.full((400, 3, 4, 4), 0.5)
        noise = add_gaussian_noise(grey, (10.0, 10.0), 0.4, Draws(0)) - grey
        alike = (noise[:, 0] == noise[:, 1]).flatten(1).all(1)
        assert int(alike.sum()) == pytest.approx(160, abs=40)

    def test_the_result_is_clipped(self) -> None:
        for level in (0.0, 1.0):
            done = add_gaussian_noise(
                torch.full((1, 3, 50, 50), level), (30.0, 30.0), 0.0, Draws(0)
            )
            assert done.min() >= 0
            assert done.max() <= 1
            assert float((done == level).double().mean()) == pytest.approx(0.5, abs=0.05)


class TestPoissonNoise:
    def test_the_mean_is_kept_and_the_variance_grows_with_light(self) -> None:
        # two levels a picture: 2 counts of full light, noise in units of it
        x = torch.empty(1, 3, 300, 300)
        x[..., :150], x[..., 150:] = 51 / 255, 102 / 255
        done = add_poisson_noise(x * 1.0, (0.2, 0.2), 0.0, Draws(0))
        noise = (done - x) / 0.2
        for part, level in ((noise[..., :150], 0.2), (noise[..., 150:], 0.4)):
            assert float(part.mean()) == pytest.approx(0, abs=0.01)
            assert float(part.var()) == pytest.approx(level / 2, rel=0.03)

    def test_more_levels_give_less_noise(self) -> None:
        few = torch.full((1, 3, 100, 100), 0.5)
        many = few.clone()
        many[..., :2, :] = torch.linspace(0.2, 0.8, 200).reshape(2, 100)  # 154 of 256 values
        spread = [
            float((add_poisson_noise(x, (0.1, 0.1), 0.0, Draws(0)) - x)[..., 5:, :].var())
            for x in (few, many)
        ]
        assert spread[0] / spread[1] == pytest.approx(256, rel=0.1)

    def test_colours_are_alike_only_in_grey_noise(self) -> None:
        x = photo()
        for gray, alike in ((1.0, True), (0.0, False)):
            noise = add_poisson_noise(x, (0.5, 0.5), gray, Draws(0)) - x
            same = torch.isclose(noise[:, 0], noise[:, 1], atol=1e-6).double().mean()
            assert (same > 0.95) == alike

    def test_the_result_is_clipped(self) -> None:
        done = add_poisson_noise(photo(), (3.0, 3.0), 0.5, Draws(0))
        assert done.min() >= 0
        assert done.max() <= 1


@pytest.mark.parametrize("make", [realesrgan_x4, mild_x4, camera_x4])
class TestChain:
    def test_the_result_is_a_picture_of_8_bits(
        self, make: Callable[[], DegradationSettings]
    ) -> None:
        for seed in range(12):
            lq = degrade(photo(), make(), Draws(seed))
            assert lq.shape == (2, 3, 16, 20)
            assert lq.min() >= 0
            assert lq.max() <= 1
            assert torch.equal(lq, (lq * 255).round() / 255)

    def test_the_same_seed_gives_the_same_bytes(
        self, make: Callable[[], DegradationSettings]
    ) -> None:
        found = [degrade(photo(), make(), Draws(seed)) for seed in (3, 3, 4)]
        assert torch.equal(found[0], found[1])
        assert not torch.equal(found[0], found[2])

    def test_it_is_still_the_same_photo(self, make: Callable[[], DegradationSettings]) -> None:
        small = F.interpolate(photo(), scale_factor=0.25, mode="area")
        for seed in range(6):
            lq = degrade(photo(), make(), Draws(seed))
            pair = torch.stack([lq.flatten(), small.flatten()])
            assert torch.corrcoef(pair)[0, 1] > 0.5

    def test_the_input_is_not_changed(self, make: Callable[[], DegradationSettings]) -> None:
        hq = photo()
        degrade(hq, make(), Draws(1))
        assert torch.equal(hq, photo())


class Lowest(Draws):
    """Draws that always give the lower end of a range."""

    def between(self, low: float, high: float) -> float:
        return low


def nothing(**changes: Any) -> DegradationSettings:
    """A chain that does nothing but reduce, with `changes` to its first stage."""
    base = realesrgan_x4().first
    quiet: dict[str, Any] = {
        "blur_probability": 0.0,
        "resize_probabilities": (0, 0, 1),
        "gaussian_probability": 1.0,
        "noise_sigma": (0.0, 0.0),
        "jpeg_quality": (100.0, 100.0),
    }
    still: StageSettings = replace(base, **quiet)
    return DegradationSettings(
        first=replace(still, **changes),
        second=still,
        second_probability=0,
        final_sinc_probability=0,
    )


class TestSettings:
    def test_with_everything_off_only_the_size_changes(self) -> None:
        ramp = torch.linspace(0.1, 0.9, 64).repeat(1, 3, 64, 1)
        lq = degrade(ramp, nothing(), Draws(0))
        small = F.interpolate(ramp, scale_factor=0.25, mode="area")
        assert (lq - small).abs().max() < 2.5 / 255

    def test_the_first_resize_keeps_the_pair_on_top_of_each_other(self) -> None:
        """By the bare factor, 64 * 0.37 = 23.68 pixels, 0.68 of them would be cut off."""
        ramp = torch.linspace(0.1, 0.9, 64).repeat(1, 3, 64, 1)
        small = F.interpolate(ramp, scale_factor=0.25, mode="area")
        reduced = nothing(resize_probabilities=(0, 1, 0), resize_range=(0.37, 1.0))
        for seed in range(8):
            lq = degrade(ramp, reduced, Lowest(seed))
            off = (lq - small)[..., 2:-2].abs().max()
            assert off < 4 / 255, seed

    def test_the_official_first_resize_moves_the_picture(self) -> None:
        ramp = torch.linspace(0.1, 0.9, 64).repeat(1, 3, 64, 1)
        small = F.interpolate(ramp, scale_factor=0.25, mode="area")
        reduced = nothing(resize_probabilities=(0, 1, 0), resize_range=(0.37, 1.0))
        official = replace(reduced, first_resize_by_factor=True)
        off = [
            float((degrade(ramp, official, Lowest(seed)) - small)[..., 2:-2].abs().max())
            for seed in range(8)
        ]
        assert max(off) > 4 / 255  # bilinear and bicubic; area takes the whole picture
        assert min(off) < 4 / 255

    @pytest.mark.parametrize(
        "change",
        [
            {"blur_probability": 1.0},
            {"noise_sigma": (20.0, 20.0)},
            {"gaussian_probability": 0.0, "poisson_scale": (2.0, 2.0)},
            {"jpeg_quality": (10.0, 10.0)},
            {"resize_probabilities": (0, 1, 0), "resize_range": (0.2, 1.0)},
        ],
    )
    def test_each_step_of_a_stage_does_something(self, change: dict[str, Any]) -> None:
        hq = photo() + 0.1 * torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(0))
        plain = degrade(hq.clamp(0, 1), nothing(), Draws(5))
        assert (degrade(hq.clamp(0, 1), nothing(**change), Draws(5)) - plain).abs().mean() > 0.002

    def test_second_stage_and_ringing_can_be_switched_on(self) -> None:
        plain = degrade(photo(), nothing(), Draws(5))
        second = replace(nothing(), second=nothing(noise_sigma=(25.0, 25.0)).first)
        assert torch.equal(degrade(photo(), replace(second, second_probability=0), Draws(5)), plain)
        twice = degrade(photo(), replace(second, second_probability=1), Draws(5))
        assert (twice - plain).abs().mean() > 0.02
        edge = torch.zeros(1, 3, 64, 80)
        edge[..., 40:] = 0.8
        rung = degrade(edge, replace(nothing(), final_sinc_probability=1.0), Draws(5))
        assert rung.max() > degrade(edge, nothing(), Draws(5)).max() + 0.02

    @pytest.mark.parametrize("size", [(66, 80), (64, 79)])
    def test_sizes_that_do_not_divide(self, size: tuple[int, int]) -> None:
        message = f"the picture is {size[1]}x{size[0]} pixels; both must be multiples of 4"
        with pytest.raises(OptionError, match=message):
            degrade(photo(1, *size), realesrgan_x4(), Draws(0))

    def test_pictures_too_small_for_the_kernels(self) -> None:
        large = replace(realesrgan_x4().first, blur=BlurSettings(sizes=(19,)))
        settings = replace(realesrgan_x4(), first=large)
        with pytest.raises(OptionError, match="8x8 pixels is too small for a blur kernel of 19x19"):
            degrade(photo(1, 8, 8), settings, Draws(0))

    def test_any_other_scale(self) -> None:
        settings = replace(realesrgan_x4(), scale=2)
        assert degrade(photo(), settings, Draws(0)).shape == (2, 3, 32, 40)
        with pytest.raises(OptionError, match="scale is 0; it must be at least 1"):
            replace(settings, scale=0)

    def test_the_mild_chain_is_milder(self) -> None:
        small = F.interpolate(photo(), scale_factor=0.25, mode="area")

        def error(settings: DegradationSettings) -> float:
            found = [
                (degrade(photo(), settings, Draws(k)) - small).square().mean() for k in range(20)
            ]
            return float(torch.stack(found).mean())

        assert error(mild_x4()) < 0.5 * error(realesrgan_x4())
        assert error(camera_x4()) < 0.7 * error(mild_x4())

    def test_numbers_of_the_official_configuration(self) -> None:
        first, second = realesrgan_x4().first, realesrgan_x4().second
        assert first.blur.sizes == (3, 5, 7, 9, 11, 13, 15, 17, 19)
        assert second.blur.sizes == (3, 5, 7, 9, 11, 13)
        assert (first.blur.sigma, second.blur.sigma) == ((0.2, 3.0), (0.2, 1.5))
        assert first.resize_probabilities == (0.2, 0.7, 0.1)
        assert second.resize_probabilities == (0.3, 0.4, 0.3)
        assert (first.resize_range, second.resize_range) == ((0.15, 1.5), (0.3, 1.2))
        assert (first.noise_sigma, second.noise_sigma) == ((1, 30), (1, 25))
        assert (first.poisson_scale, second.poisson_scale) == ((0.05, 3.0), (0.05, 2.5))
        assert first.jpeg_quality == second.jpeg_quality == (30, 95)
        assert (first.blur_probability, second.blur_probability) == (1.0, 0.8)
        assert first.gray_probability == second.gray_probability == 0.4
        assert first.gaussian_probability == second.gaussian_probability == 0.5
        assert not realesrgan_x4().first_resize_by_factor
        assert (realesrgan_x4().second_probability, realesrgan_x4().final_sinc_probability) == (
            0.5,
            0.8,
        )
