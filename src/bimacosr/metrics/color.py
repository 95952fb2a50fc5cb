"""The brightness planes that the metrics look at.

Shapes: B batch, H height, W width; pictures are B3HW RGB in [0, 1], planes B1HW float64 on the
scale of 8 bits. float64 since the metrics' published values are MATLAB's.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["gray", "luma"]

_LUMA = (65.481, 128.553, 24.966)  # BT.601, for R, G, B in [0, 1]; plus 16: 16..235
_GRAY = (0.298936021293775, 0.587043074451121, 0.114020904255103)


def luma(pictures: Tensor, *, rounded: bool = True) -> Tensor:
    """Return the Y of MATLAB's rgb2ycbcr: B1HW, 16..235.

    Args:
        pictures: B3HW RGB in [0, 1].
        rounded: Round the pictures and the plane to integers, as 8-bit code does; without, as
            BasicSR's calculate_psnr.

    Source: ITU-R BT.601; MATLAB rgb2ycbcr.
    """
    return _weigh(pictures, tuple(w / 255 for w in _LUMA), 16, rounded=rounded)


def gray(pictures: Tensor) -> Tensor:
    """Return MATLAB's rgb2gray of B3HW RGB in [0, 1]: B1HW, whole numbers in 0..255."""
    return _weigh(pictures, _GRAY, 0, rounded=True)


def _weigh(pictures: Tensor, weights: tuple[float, ...], offset: float, *, rounded: bool) -> Tensor:
    """The weighted sum of R, G, B on the scale 0..255, plus `offset`."""
    rgb = pictures.double() * 255
    if rounded:
        rgb = rgb.round()
    w = torch.tensor(weights, dtype=torch.float64, device=rgb.device).view(1, 3, 1, 1)
    plane = (rgb * w).sum(1, keepdim=True) + offset
    return plane.round() if rounded else plane
