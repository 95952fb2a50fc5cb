from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bimacosr.errors import OptionError
from bimacosr.metrics.ssim import ssim, ssim_y


def brute_force_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, eq. 13, one window after the other, two-pass moments."""
    x = np.arange(-5, 6)
    weights = np.exp(-(x[:, None] ** 2 + x**2) / (2 * 1.5**2))
    weights /= weights.sum()
    c1, c2 = 0.0001 * 255**2, 0.0009 * 255**2
    values = []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            p, q = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
            mp, mq = (weights * p).sum(), (weights * q).sum()
            vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
            cov = (weights * (p - mp) * (q - mq)).sum()
            value = (2 * mp * mq + c1) * (2 * cov + c2)
            values.append(value / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(values))


@given(st.integers(0, 2**32 - 1), st.integers(11, 18), st.integers(11, 18))
@settings(max_examples=20, deadline=None)
def test_ssim_is_the_mean_over_all_windows(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.uniform(0, 255, (height, width))
    b = np.clip(a + rng.normal(0, 40, a.shape), 0, 255)
    value = ssim(*(torch.from_numpy(t)[None, None] for t in (a, b))).item()
    assert value == pytest.approx(brute_force_ssim(a, b), abs=1e-10)


def test_equal_pictures_have_ssim_one() -> None:
    picture = torch.rand(2, 3, 12, 13, generator=torch.Generator().manual_seed(0))
    assert ssim_y(picture, picture).tolist() == pytest.approx([1, 1], abs=1e-12)


def test_ssim_is_symmetric_and_falls_with_noise() -> None:
    g = torch.Generator().manual_seed(2)
    picture = torch.rand(1, 3, 32, 32, generator=g)
    noise = torch.randn(picture.shape, generator=g)
    near, far = ((picture + s * noise).clamp(0, 1) for s in (0.05, 0.2))
    assert ssim_y(picture, near) > ssim_y(picture, far)
    torch.testing.assert_close(ssim_y(picture, far), ssim_y(far, picture), rtol=0, atol=1e-12)


def test_a_picture_smaller_than_the_window_is_refused() -> None:
    with pytest.raises(OptionError, match=r"11 px a side at least, not 1x3x10x16"):
        ssim_y(torch.zeros(1, 3, 10, 16), torch.zeros(1, 3, 10, 16))
    with pytest.raises(OptionError, match="19 px"):
        ssim_y(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16), border_px=4)


@pytest.mark.parametrize(("border", "rounded"), [(0, True), (4, False)])
def test_bicubic_pictures_have_the_oracles_ssim(
    bicubic_pairs: list[tuple[Tensor, Tensor]],
    metrics_oracle: ModuleType,
    border: int,
    rounded: bool,
) -> None:
    for sr, hr in bicubic_pairs:
        ours = ssim_y(sr, hr, border_px=border, rounded=rounded)
        torch.testing.assert_close(
            ours, metrics_oracle.ssim_y(sr, hr, border, rounded), rtol=0, atol=1e-9
        )
