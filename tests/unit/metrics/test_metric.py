from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bimacosr.errors import OptionError
from bimacosr.metrics.colour_shift import colour_shift
from bimacosr.metrics.metric import compared, largest_mean, mean, worst_median

NAN = math.nan


@pytest.mark.parametrize(
    ("pool", "values", "expected"),
    [
        (mean, [[1.0], [NAN], [2.0]], 1.5),
        (mean, [[0.1]] * 10, 0.1),  # exact: a running sum gives .09999
        (worst_median, [[1.0, 5.0], [2.0, 4.0], [9.0, 3.0]], 4.0),
        (worst_median, [[1.0, 5.0], [NAN, NAN]], 5.0),
        (largest_mean, [[1.0, -3.0], [1.0, -2.0]], 2.5),
        (largest_mean, [[4.0, 1.0], [-4.0, 1.0]], 1.0),
    ],
)
def test_values_of_pictures_become_one_figure(
    pool: object, values: list[list[float]], expected: float
) -> None:
    assert pool(np.array(values)) == expected  # type: ignore[operator]


@pytest.mark.parametrize("pool", [mean, worst_median, largest_mean])
def test_without_any_value_there_is_no_figure(pool: object) -> None:
    assert math.isnan(pool(np.array([[NAN, NAN]])))  # type: ignore[operator]


def test_a_comparison_refuses_a_missing_original() -> None:
    with pytest.raises(OptionError, match="there is none"):
        compared(colour_shift)(torch.zeros(1, 3, 4, 4), None)


def test_a_colour_shift_is_the_difference_of_means_of_255() -> None:
    hr = torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(0)) * 0.5
    shift = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 7.0]])
    found = colour_shift(hr + shift[..., None, None] / 255, hr)
    torch.testing.assert_close(found, shift.double(), atol=1e-5, rtol=0)
    assert colour_shift(hr, hr).abs().max() == 0
    with pytest.raises(OptionError, match="differ in shape"):
        colour_shift(hr, hr[..., 1:])
