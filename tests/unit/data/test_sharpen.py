"""Sharpening raises edges, and leaves flat ground and fine noise as they are."""

from __future__ import annotations

import pytest
import torch

from bimacosr.data.sharpen import sharpen, sharpening_kernel
from bimacosr.errors import OptionError


def edge(low: float, high: float) -> torch.Tensor:
    picture = torch.full((1, 3, 60, 120), low)
    picture[..., 60:] = high
    return picture


def test_an_edge_is_raised_and_far_ground_is_not() -> None:
    done = sharpen(edge(0.3, 0.6))
    assert done[0, 0, 30, 59] < 0.3 - 0.02
    assert done[0, 0, 30, 60] > 0.6 + 0.02
    for column, ground in ((0, 0.3), (119, 0.6)):
        assert float(done[0, 0, 30, column]) == pytest.approx(ground, abs=1e-6)


def test_what_differs_by_less_than_10_of_255_stays() -> None:
    """The step is split between the two sides: each differs from the blur by at most half."""
    faint = edge(0.5, 0.5 + 19 / 255)
    torch.testing.assert_close(sharpen(faint), faint, atol=1e-6, rtol=0)
    plain = edge(0.5, 0.5 + 23 / 255)
    assert (sharpen(plain) - plain).abs().max() > 5e-4


def test_the_result_stays_a_picture() -> None:
    done = sharpen(edge(0.0, 1.0))
    assert done.min() == 0
    assert done.max() == 1


def test_pictures_of_a_batch_do_not_meet() -> None:
    both = torch.cat([edge(0.1, 0.9), edge(0.6, 0.2)])
    torch.testing.assert_close(sharpen(both)[1:], sharpen(both[1:]))


def test_the_kernel_is_a_gaussian_of_51_pixels_and_sigma_8() -> None:
    kernel = sharpening_kernel()
    assert kernel.shape == (51, 51)
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-5)
    assert float(kernel[25, 33] / kernel[25, 25]) == pytest.approx(0.6065, abs=1e-4)


def test_pictures_too_small_for_it() -> None:
    with pytest.raises(OptionError, match="25x60 pixels is too small for a blur kernel of 51x51"):
        sharpen(torch.zeros(1, 3, 60, 25))
    assert sharpen(torch.zeros(1, 3, 26, 26)).shape == (1, 3, 26, 26)
