from __future__ import annotations

import math
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bimacosr.errors import OptionError
from bimacosr.metrics.psnr import crop_border, psnr, psnr_y


@given(st.integers(min_value=1, max_value=255))
def test_an_error_of_n_steps_everywhere_has_the_psnr_of_the_formula(error: int) -> None:
    a = torch.zeros(1, 1, 5, 4, dtype=torch.float64)
    assert psnr(a + error, a).item() == pytest.approx(20 * math.log10(255 / error), abs=1e-12)


def test_equal_pictures_are_infinitely_alike() -> None:
    picture = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert psnr_y(picture, picture).tolist() == [math.inf, math.inf]


def test_each_picture_of_a_batch_stands_alone() -> None:
    g = torch.Generator().manual_seed(1)
    a, b = torch.rand(3, 3, 8, 8, generator=g), torch.rand(3, 3, 8, 8, generator=g)
    alone = [psnr_y(a[i : i + 1], b[i : i + 1]).item() for i in range(3)]
    assert psnr_y(a, b).tolist() == alone


def test_the_border_is_left_out() -> None:
    a = torch.zeros(1, 3, 8, 8)
    b = a.clone()
    b[..., 0, :] = 1
    assert psnr_y(a, b).isfinite().all()
    assert psnr_y(a, b, border_px=1).isinf().all()


def test_a_border_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(OptionError, match=r"border of 4 px .* 8x9"):
        crop_border(torch.zeros(1, 1, 9, 8), 4)


def test_pictures_of_two_sizes_are_refused() -> None:
    with pytest.raises(OptionError, match="1x3x8x8 and 1x3x8x9"):
        psnr_y(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 9))
    with pytest.raises(OptionError, match="Bx3xHxW, not 3x8x8"):
        psnr_y(torch.zeros(3, 8, 8), torch.zeros(3, 8, 8))


@pytest.mark.parametrize(("border", "rounded"), [(0, True), (4, False)])
def test_bicubic_pictures_have_the_oracles_psnr(
    bicubic_pairs: list[tuple[Tensor, Tensor]],
    metrics_oracle: ModuleType,
    border: int,
    rounded: bool,
) -> None:
    for sr, hr in bicubic_pairs:
        ours = psnr_y(sr, hr, border_px=border, rounded=rounded)
        torch.testing.assert_close(
            ours, metrics_oracle.psnr_y(sr, hr, border, rounded), rtol=0, atol=1e-9
        )
