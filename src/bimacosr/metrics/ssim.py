"""SSIM of the luma: how alike two pictures are in local mean, contrast and structure; 1 is equal.

Shapes: B batch, H height, W width; pictures are B3HW RGB in [0, 1], planes B1HW in 0..255.
Source: Wang et al. 2004, Image quality assessment: from error visibility to structural similarity,
eq. 13, with the paper's Gaussian window and without its downsampling.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bimacosr.metrics.color import luma
from bimacosr.metrics.pairs import check_pair
from bimacosr.metrics.psnr import crop_border

__all__ = ["ssim", "ssim_y"]

_WINDOW_PX = 11
_SIGMA_PX = 1.5
_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean SSIM of each pair of B1HW float64 planes on the scale 0..255.

    Windows that cross an edge are left out, so H and W are at least 11.
    """
    mean_a, mean_b = _blur(a), _blur(b)
    var_a = _blur(a * a) - mean_a**2
    var_b = _blur(b * b) - mean_b**2
    cov = _blur(a * b) - mean_a * mean_b
    means = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    return (means * (2 * cov + _C2) / (var_a + var_b + _C2)).flatten(1).mean(1)


def ssim_y(sr: Tensor, hr: Tensor, *, border_px: int = 0, rounded: bool = True) -> Tensor:
    """Return the SSIM of the luma of each pair: B values, at most 1.

    Args:
        sr: Results, B3HW RGB in [0, 1], 11 px a side at least.
        hr: Their originals, same shape.
        border_px: Pixels left out at each edge.
        rounded: Round the luma to integers (MATLAB, pyiqa, ResShift) or not (BasicSR).

    Raises:
        OptionError: The shapes differ, or the pictures within the border are under 11 px a side.
    """
    check_pair(sr, hr, _WINDOW_PX + 2 * border_px)
    a, b = (crop_border(luma(t, rounded=rounded), border_px) for t in (sr, hr))
    return ssim(a, b)


def _blur(planes: Tensor) -> Tensor:
    """Gaussian means over 11x11 windows: B1HW to B1(H-10)(W-10)."""
    x = torch.arange(_WINDOW_PX, dtype=planes.dtype, device=planes.device) - _WINDOW_PX // 2
    g = torch.exp(x**2 / (-2 * _SIGMA_PX**2))
    g = g / g.sum()
    return F.conv2d(F.conv2d(planes, g.view(1, 1, 1, -1)), g.view(1, 1, -1, 1))
