"""Blur kernels: they keep brightness, have the asked shape, and are drawn as often as asked."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from bimacosr.config.degradation import BlurSettings
from bimacosr.data import kernels
from bimacosr.data.draws import Draws
from bimacosr.data.kernels import (
    gaussian_kernel,
    pad_kernel,
    random_kernel,
    random_sinc,
    sinc_kernel,
)
from bimacosr.errors import OptionError


@pytest.mark.parametrize("kind", BlurSettings().kinds)
@pytest.mark.parametrize("size", [3, 7, 19])
def test_every_kind_sums_to_1_and_looks_the_same_upside_down(kind: str, size: int) -> None:
    settings = BlurSettings(sizes=(size,), kinds=(kind,), probabilities=(1.0,), sinc_probability=0)
    for seed in range(8):
        kernel = random_kernel(settings, Draws(seed))
        assert kernel.shape == (size, size)
        assert kernel.dtype == np.float32
        assert kernel.sum() == pytest.approx(1, abs=1e-6)
        assert kernel.min() >= 0
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-7)
        if not kind.endswith("aniso"):
            np.testing.assert_allclose(kernel, kernel.T, atol=1e-7)
            np.testing.assert_allclose(kernel, kernel[::-1], atol=1e-7)


class TestGaussian:
    @pytest.mark.parametrize(("theta", "x_std", "y_std"), [(0, 2, 1), (math.pi / 2, 1, 2)])
    def test_first_sigma_is_across_at_angle_0(
        self, theta: float, x_std: float, y_std: float
    ) -> None:
        kernel = gaussian_kernel(21, 2.0, 1.0, theta).astype(float)
        place = np.arange(21) - 10
        assert math.sqrt((kernel.sum(0) * place**2).sum()) == pytest.approx(x_std, rel=1e-3)
        assert math.sqrt((kernel.sum(1) * place**2).sum()) == pytest.approx(y_std, rel=1e-3)

    def test_a_positive_angle_turns_from_right_to_down(self) -> None:
        kernel = gaussian_kernel(21, 3.0, 1.0, math.pi / 4).astype(float)
        y, x = np.mgrid[-10:11, -10:11]
        assert (kernel * x * y).sum() > 1  # the long axis goes through (1, 1), y down

    def test_values(self) -> None:
        kernel = gaussian_kernel(5, 1.0, 1.0, 0)
        assert kernel[2, 3] / kernel[2, 2] == pytest.approx(math.exp(-0.5))
        flat = gaussian_kernel(5, 1.0, 1.0, 0, beta=2, plateau=True)
        assert flat[0, 2] / flat[2, 2] == pytest.approx(1 / 17)
        steep = gaussian_kernel(5, 1.0, 1.0, 0, beta=2)
        assert steep[0, 2] / steep[2, 2] == pytest.approx(math.exp(-8))


class TestSinc:
    @pytest.mark.parametrize("size", [3, 7, 13, 21])
    @pytest.mark.parametrize("cutoff", [math.pi / 5, math.pi / 3, 2.0, math.pi])
    def test_symmetric_and_sums_to_1(self, size: int, cutoff: float) -> None:
        kernel = sinc_kernel(size, cutoff)
        assert kernel.sum() == pytest.approx(1, abs=1e-6)
        assert np.isfinite(kernel).all()
        for other in (kernel.T, kernel[::-1], kernel[:, ::-1]):
            np.testing.assert_allclose(kernel, other, atol=1e-7)

    def test_it_lets_pass_what_is_below_the_cutoff(self) -> None:
        kernel = sinc_kernel(201, math.pi / 2).astype(float)
        place = np.arange(201) - 100
        response = [(kernel.sum(0) * np.cos(w * place)).sum() for w in (0.3, 1.2, 2.0, 2.8)]
        assert response[:2] == [pytest.approx(1, abs=0.1)] * 2
        assert response[2:] == [pytest.approx(0, abs=0.1)] * 2


def test_padding_puts_the_kernel_in_the_middle() -> None:
    padded = pad_kernel(np.arange(9.0).reshape(3, 3), 7)
    assert padded.shape == (7, 7)
    np.testing.assert_array_equal(padded[2:5, 2:5], np.arange(9.0).reshape(3, 3))
    assert padded.sum() == 36
    assert pad_kernel(np.ones((3, 3)), 3).shape == (3, 3)


class TestRandomKernel:
    def test_sizes_are_drawn_evenly(self) -> None:
        draws = Draws(0)
        settings = BlurSettings(sizes=(3, 5, 7), sinc_probability=0)
        counts = Counter(len(random_kernel(settings, draws)) for _ in range(900))
        assert [counts[s] for s in (3, 5, 7)] == [pytest.approx(300, abs=60)] * 3

    def test_ranges_of_the_shape(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[tuple[float, float, float, float, bool]] = []

        def record(
            size: int, x: float, y: float, theta: float, *, beta: float, plateau: bool
        ) -> np.ndarray:
            calls.append((x, y, theta, beta, plateau))
            return np.ones((size, size))

        monkeypatch.setattr(kernels, "gaussian_kernel", record)
        settings, draws = BlurSettings(sizes=(3,), sinc_probability=0), Draws(1)
        for _ in range(3000):
            random_kernel(settings, draws)
        sigmas = np.array([call[:2] for call in calls])
        assert 0.2 <= sigmas.min() < 0.21
        assert 2.99 < sigmas.max() <= 3
        iso = [call for call in calls if call[0] == call[1]]
        assert len(iso) == pytest.approx(3000 * (0.45 + 0.12 + 0.12), abs=130)
        assert {call[2] for call in iso} == {0}
        angles = [call[2] for call in calls if call[0] != call[1]]
        assert -math.pi <= min(angles) < -3.1
        assert 3.1 < max(angles) <= math.pi
        plateaus = [call[3] for call in calls if call[4]]
        assert len(plateaus) == pytest.approx(450, abs=90)
        assert min(plateaus) == 1
        assert 1.95 < max(plateaus) <= 2
        bells = [call[3] for call in calls if not call[4]]
        assert bells.count(1) == pytest.approx(3000 * 0.7, abs=130)
        assert 0.5 <= min(bells) < 0.52
        assert 3.9 < max(bells) <= 4

    @pytest.mark.parametrize(("size", "lowest"), [(11, math.pi / 3), (13, math.pi / 5)])
    def test_sinc_cutoffs(self, size: int, lowest: float, monkeypatch: pytest.MonkeyPatch) -> None:
        cutoffs: list[float] = []

        def record(size: int, cutoff: float) -> Any:
            cutoffs.append(cutoff)
            return np.zeros((size, size))

        monkeypatch.setattr(kernels, "sinc_kernel", record)
        draws = Draws(2)
        for _ in range(500):
            random_kernel(BlurSettings(sizes=(size,), sinc_probability=1), draws)
        assert lowest <= min(cutoffs) < lowest + 0.05
        assert math.pi - 0.05 < max(cutoffs) <= math.pi
        cutoffs.clear()
        for _ in range(500):
            random_sinc(size, draws)  # the final ringing, whatever the size
        assert math.pi / 3 <= min(cutoffs) < math.pi / 3 + 0.05


class TestSettings:
    @pytest.mark.parametrize("size", [0, -3, 4])
    def test_sizes_are_odd(self, size: int) -> None:
        with pytest.raises(OptionError, match=f"a kernel size is {size}; it must be odd"):
            BlurSettings(sizes=(3, size))

    def test_each_kind_has_a_probability(self) -> None:
        message = "1 kinds of kernels but 6 probabilities"
        with pytest.raises(OptionError, match=message):
            BlurSettings(kinds=("iso",))
