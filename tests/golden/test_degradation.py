"""The degradation against the official one: kernels, each step, and the whole chain.

The official draws come from `random`, `numpy.random` and `torch`; here stand-ins for `Draws` repeat
them, so that also their order and their use are compared.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bimacosr.config.degradation import BlurSettings, realesrgan_x4
from bimacosr.data import degradation
from bimacosr.data.degradation import (
    add_gaussian_noise,
    add_poisson_noise,
    blur,
    resize,
    round_to_8_bits,
)
from bimacosr.data.jpeg import jpeg
from bimacosr.data.kernels import gaussian_kernel, pad_kernel, random_kernel, sinc_kernel
from bimacosr.data.pairs import make_pair
from bimacosr.data.sharpen import sharpen, sharpening_kernel
from tests.golden import reference as ref

DTYPES = {"f64": torch.float64, "f32": torch.float32}
KINDS = BlurSettings().kinds
SETTINGS = realesrgan_x4()
FIRST = SETTINGS.first


def stored(name: str) -> Tensor:
    return ref.tensors("degradation")[name]


def photo(dtype: torch.dtype) -> Tensor:
    return (stored("gt_u8").float() / 255).to(dtype)


def tolerance(precision: str) -> float:
    return ref.F64_STORED_F32 if precision == "f64" else ref.F32_LAYER


class TestKernels:
    """Ours are stored as float32."""

    @pytest.mark.parametrize(
        ("name", "kernel"),
        [
            ("iso_21_s1.7", gaussian_kernel(21, 1.7, 1.7, 0)),
            ("iso_3_tiny", gaussian_kernel(3, 0.2, 0.2, 0)),
            ("aniso_15", gaussian_kernel(15, 0.6, 2.9, 0.7)),
            ("gen_iso_13_b0.5", gaussian_kernel(13, 1.2, 1.2, 0, beta=0.5)),
            ("gen_aniso_9_b3", gaussian_kernel(9, 1.2, 2.2, -2.1, beta=3)),
            ("plateau_iso_11_b1.5", gaussian_kernel(11, 0.9, 0.9, 0, beta=1.5, plateau=True)),
            ("plateau_aniso_7_b2", gaussian_kernel(7, 0.3, 2.9, 1.1, beta=2, plateau=True)),
            ("sinc_13_w1.3", sinc_kernel(13, 1.3)),
            ("sinc_13_w1.3_padFalse", sinc_kernel(13, 1.3)),
            ("sinc_7_w2.9_pad15", pad_kernel(sinc_kernel(7, 2.9), 15)),
        ],
    )
    def test_kernel_of_given_shape(self, name: str, kernel: np.ndarray) -> None:
        # the sinc's peak is 18 times its rms: float32 storage then is 2e-6 of the rms
        limit = 3e-6 if "sinc" in name else ref.F64_STORED_F32
        assert ref.deviation(torch.from_numpy(kernel), stored(f"kernel/{name}")) < limit

    def test_kernel_of_the_sharpening(self) -> None:
        kernel = torch.from_numpy(sharpening_kernel())[None]
        assert ref.deviation(kernel, stored("usm_kernel")) < ref.F64_STORED_F32

    @pytest.mark.parametrize("kind", KINDS)
    def test_random_kernel_of_one_kind(self, kind: str) -> None:
        settings = BlurSettings(
            sizes=(11,), kinds=(kind,), probabilities=(1.0,), sinc_probability=0
        )
        kernel = random_kernel(settings, KernelDraws(seed=KINDS.index(kind)))
        golden = stored(f"kernel_random/only_{kind}")
        assert ref.deviation(torch.from_numpy(kernel), golden) < ref.F64_STORED_F32

    def test_eight_random_kernels_in_a_row(self) -> None:
        settings, draws = BlurSettings(sizes=(9,), sinc_probability=0), KernelDraws(seed=7)
        for golden in stored("kernel_random/mixed_seed7"):
            kernel = pad_kernel(random_kernel(settings, draws), 21)
            assert ref.deviation(torch.from_numpy(kernel), golden) < ref.F64_STORED_F32


class KernelDraws:
    """`Draws` whose kinds come from `random` and whose shapes come from `numpy.random`."""

    def __init__(self, seed: int) -> None:
        self.kinds, self.shapes = random.Random(seed), np.random.RandomState(seed)

    def between(self, low: float, high: float) -> float:
        return float(self.shapes.uniform(low, high))

    def happens(self, probability: float) -> bool:
        return probability > 0 and self.shapes.uniform() < probability

    def one_of(self, items: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        return items[0] if weights is None else self.kinds.choices(items, weights)[0]


class StepDraws:
    """`Draws` of the rule's tensors, numbered in the order in which they are asked for."""

    def __init__(self, scope: str, dtype: torch.dtype) -> None:
        self.scope, self.dtype = scope, dtype
        self.asked: list[str] = []

    def _name(self, kind: str) -> str:
        self.asked.append(kind)
        return f"{self.scope}/{kind}{self.asked.count(kind) - 1}"

    def uniform(self, *shape: int) -> Tensor:
        return ref.uniform(self._name("rand"), shape, self.dtype, 0, 1)

    def normal(self, *shape: int) -> Tensor:
        return ref.normal(self._name("randn"), shape, self.dtype)

    def poisson(self, rate: Tensor) -> Tensor:
        shift = ref.normal(self._name("poisson"), tuple(rate.shape), self.dtype)
        return torch.floor((rate + rate.sqrt() * shift).clamp(min=0) + 0.5)


@pytest.mark.parametrize("precision", DTYPES)
class TestSteps:
    def test_blur_with_a_kernel_a_picture(self, precision: str) -> None:
        ours = blur(photo(DTYPES[precision]), stored("kernel1"))
        assert ref.deviation(ours, stored("step/filter2D_kernel1")) < tolerance(precision)

    def test_blur_with_one_kernel(self, precision: str) -> None:
        ours = blur(photo(DTYPES[precision]), stored("kernel1")[:1].repeat(2, 1, 1))
        assert ref.deviation(ours, stored("step/filter2D_single_kernel")) < tolerance(precision)

    def test_sharpening(self, precision: str) -> None:
        ours = sharpen(photo(DTYPES[precision]))
        assert ref.deviation(ours, stored("step/usm_sharp")) < tolerance(precision)

    @pytest.mark.parametrize("mode", ["area", "bilinear", "bicubic"])
    def test_resize_by_a_factor(self, mode: str, precision: str) -> None:
        for factor in ("0.37", "0.5", "1", "1.43"):
            ours = resize(photo(DTYPES[precision]), float(factor), mode)
            golden = stored(f"step/resize_scale/{mode}/{factor}")
            assert ref.deviation(ours, golden) < tolerance(precision), factor

    @pytest.mark.parametrize("mode", ["area", "bilinear", "bicubic"])
    @pytest.mark.parametrize("size", [(16, 18), (19, 21)])
    def test_resize_to_a_size(self, size: tuple[int, int], mode: str, precision: str) -> None:
        ours = resize(photo(DTYPES[precision]), size, mode)
        golden = stored(f"step/resize_size/{mode}/{size[0]}x{size[1]}")
        assert ref.deviation(ours, golden) < tolerance(precision)

    def test_ringing(self, precision: str) -> None:
        """On every fourth pixel of the blurred picture; the second kernel is a pulse."""
        small = blur(photo(DTYPES[precision]), stored("kernel1"))[..., ::4, ::4]
        ours = blur(small, stored("sinc_kernel"))
        assert ref.deviation(ours, stored("step/final_sinc")) < tolerance(precision)

    def test_rounding_to_8_bits(self, precision: str) -> None:
        """Of the blurred picture, brightened and darkened beyond both ends."""
        stretched = blur(photo(DTYPES[precision]), stored("kernel1")) * 1.3 - 20 / 255
        ours = round_to_8_bits(stretched)
        assert ref.deviation(ours, stored("step/clamp_round")) < tolerance(precision)

    @pytest.mark.parametrize("gray", ["0.0", "0.4", "1.0"])
    def test_gaussian_noise(self, precision: str, gray: str) -> None:
        dtype = DTYPES[precision]
        draws = StepDraws("deg/gauss", dtype)
        ours = add_gaussian_noise(photo(dtype), FIRST.noise_sigma, float(gray), draws)
        golden = stored(f"step/gauss_noise/gray_prob{gray}")
        assert ref.deviation(ours, golden) < tolerance(precision)

    @pytest.mark.parametrize("gray", ["0.0", "0.4", "1.0"])
    def test_poisson_noise(self, precision: str, gray: str) -> None:
        dtype = DTYPES[precision]
        draws = StepDraws("deg/poisson", dtype)
        ours = add_poisson_noise(photo(dtype), FIRST.poisson_scale, float(gray), draws)
        golden = stored(f"step/poisson_noise/gray_prob{gray}")
        assert ref.deviation(ours, golden) < tolerance(precision)

    @pytest.mark.parametrize("qualities", ["q30.0_95.0", "q50.0_49.9", "q75.3_62.1"])
    def test_jpeg(self, precision: str, qualities: str) -> None:
        quality = torch.tensor([float(q) for q in qualities[1:].split("_")])
        ours = jpeg(photo(DTYPES[precision]), quality)
        assert_equal_but_for_ties(ours, stored(f"step/jpeg/{qualities}"), tolerance(precision))

    def test_jpeg_of_an_odd_size(self, precision: str) -> None:
        odd = photo(DTYPES[precision])[..., :37, :45]
        ours = jpeg(odd, torch.tensor([40.0, 85.0]))
        golden = stored("step/jpeg_odd_37x45/q40_85")
        assert_equal_but_for_ties(ours, golden, tolerance(precision))


def assert_equal_but_for_ties(ours: Tensor, golden: Tensor, limit: float) -> None:
    """Equal, but for blocks with a coefficient just between two steps (white areas have such)."""
    difference = (ours.double() - golden.double()).abs() / golden.double().square().mean().sqrt()
    off = (difference > limit).any(1).double()
    assert off.mean() < 0.04
    assert difference.max() < 0.05


class ChainDraws:
    """`Draws` of the official trainer: choices from `random`, tensors from torch's generator."""

    def __init__(self, seed: int) -> None:
        self.scalars, self.tensors = random.Random(seed), torch.Generator().manual_seed(seed)
        self.log: list[list[Any]] = []

    def between(self, low: float, high: float) -> float:
        if low == high:
            return low
        self.log.append(["uniform", self.scalars.uniform(low, high)])
        return float(self.log[-1][1])

    def happens(self, probability: float) -> bool:
        if probability == 1:
            return True
        self.log.append(["random", self.scalars.random()])
        return bool(self.log[-1][1] < probability)

    def one_of(self, items: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        if weights is None:
            kind = "randint" if isinstance(items, range) else "choice"
            self.log.append([kind, self.scalars.choice(items)])
        else:
            self.log.append(["choices", self.scalars.choices(items, weights)[0]])
        return self.log[-1][1]

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.tensors)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.tensors)

    def poisson(self, rate: Tensor) -> Tensor:
        return torch.poisson(rate, generator=self.tensors)


@pytest.mark.parametrize("seed", range(6))
def test_whole_chain(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All 8-bit values of the official trainer and its targets, from its kernels and its draws."""
    draws = ChainDraws(seed)
    kernels = iter([*stored("kernel1"), *stored("kernel2")])
    ringing = iter(stored("sinc_kernel"))
    monkeypatch.setattr(degradation, "random_kernel", lambda *_: next(kernels).float().numpy())
    monkeypatch.setattr(degradation, "random_sinc", lambda *_: next(ringing).float().numpy())
    second = replace(SETTINGS.second, blur=BlurSettings(sizes=(13,)))
    settings = replace(
        SETTINGS, second=second, final_sinc_probability=1, first_resize_by_factor=True
    )
    monkeypatch.setattr(draws, "one_of", without_sizes(draws.one_of))

    hq = stored("chain/in_u8").float() / 255
    told = ref.meta("degradation")["chain"][str(seed)]
    lq, target = make_pair(hq, settings, draws, crop_px=64, sharp=told["use_sharp"])

    assert draws.log == told["python_random_log"]
    assert torch.equal((target * 255).round(), stored(f"chain/{seed}/gt_u8").float())
    off = ((lq * 255).round() - stored(f"chain/{seed}/lq_u8").float()).abs()
    assert off.max() <= 1
    assert (off > 0).double().mean() <= 1e-3


def without_sizes(one_of: Any) -> Any:
    """Kernel sizes are drawn with the kernels, officially: not in this chain."""

    def choose(items: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        return items[0] if items == (13,) else one_of(items, weights)

    return choose
