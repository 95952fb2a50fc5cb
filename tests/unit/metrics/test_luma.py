from __future__ import annotations

import pytest
import torch

from bimacosr.metrics.color import gray, luma


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [((0, 0, 0), 16), ((255, 255, 255), 235), ((255, 0, 0), 81), ((0, 255, 0), 145)],
)
def test_luma_of_known_colours_is_rgb2ycbcr(rgb: tuple[int, int, int], expected: int) -> None:
    picture = torch.tensor(rgb).view(1, 3, 1, 1) / 255
    assert luma(picture).item() == expected


def test_gray_spans_the_full_range() -> None:
    assert gray(torch.zeros(1, 3, 1, 1)).item() == 0
    assert gray(torch.ones(1, 3, 1, 1)).item() == 255
    assert gray(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)).item() == 76


def test_unrounded_luma_lies_within_one_of_the_rounded() -> None:
    picture = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    exact, rounded = luma(picture, rounded=False), luma(picture)
    assert exact.shape == (2, 1, 9, 7)
    assert exact.dtype == torch.float64
    assert not torch.equal(exact, exact.round())
    assert (exact - rounded).abs().max() <= 1
