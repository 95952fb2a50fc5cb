"""PSNR of the luma: the mean squared error of a picture, in dB; infinite where equal.

Shapes: B batch, H height, W width; pictures are B3HW RGB in [0, 1].
"""

from __future__ import annotations

from torch import Tensor

from bimacosr.errors import OptionError
from bimacosr.metrics.color import luma
from bimacosr.metrics.pairs import check_pair

__all__ = ["crop_border", "psnr", "psnr_y"]


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Return 10 log10(255^2 / mean squared error) of B pairs of planes in 0..255: B values, dB."""
    mse = (a - b).square().flatten(1).mean(1)
    return 10 * (255.0**2 / mse).log10()


def psnr_y(sr: Tensor, hr: Tensor, *, border_px: int = 0, rounded: bool = True) -> Tensor:
    """Return the PSNR of the luma of each pair: B values in dB.

    Args:
        sr: Results, B3HW RGB in [0, 1].
        hr: Their originals, same shape.
        border_px: Pixels left out at each edge.
        rounded: Round the luma to integers (MATLAB, pyiqa, ResShift) or not (BasicSR).

    Raises:
        OptionError: The shapes differ, or the border leaves nothing.
    """
    check_pair(sr, hr)
    a, b = (crop_border(luma(t, rounded=rounded), border_px) for t in (sr, hr))
    return psnr(a, b)


def crop_border(planes: Tensor, border_px: int) -> Tensor:
    """Cut `border_px` pixels off each edge of BCHW planes.

    Raises:
        OptionError: "a border of 8 px leaves nothing of a picture of 16x16".
    """
    height, width = planes.shape[-2:]
    if border_px < 0 or 2 * border_px >= min(height, width):
        raise OptionError(
            f"a border of {border_px} px leaves nothing of a picture of {width}x{height}"
        )
    return planes[..., border_px : height - border_px, border_px : width - border_px]
