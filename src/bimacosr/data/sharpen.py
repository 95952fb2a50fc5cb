"""Unsharp masking for training targets: of edges alone, so that noise stays as it is.

Shapes: B batch, H height, W width (BCHW), values in [0, 1].

Source: Real-ESRGAN, arXiv 2107.10833, section 4.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bimacosr.data.degradation import blur
from bimacosr.data.kernels import Kernel, gaussian_kernel

__all__ = ["sharpen", "sharpening_kernel"]

_KERNEL_PX = 51
_SIGMA_PX = 8.0  # what OpenCV takes for 51 pixels: 0.3 ((51 - 1) / 2 - 1) + 0.8
_AMOUNT = 0.5
_THRESHOLD = 10  # of 255


def sharpen(pictures: Tensor) -> Tensor:
    """Sharpen BCHW pictures where they differ from their blur by more than 10 of 255.

    Args:
        pictures: BCHW in [0, 1], both sides above 25 pixels.

    Returns:
        The same shape, in [0, 1].

    Raises:
        OptionError: a picture is too small.
    """
    kernels = torch.from_numpy(sharpening_kernel()).expand(len(pictures), -1, -1)
    detail = pictures - blur(pictures, kernels)
    edges = blur((detail.abs() * 255 > _THRESHOLD).to(pictures.dtype), kernels)
    sharp = (pictures + _AMOUNT * detail).clamp(0, 1)
    return edges * sharp + (1 - edges) * pictures


def sharpening_kernel() -> Kernel:
    """The Gaussian of 51 x 51 pixels that tells detail from ground."""
    return gaussian_kernel(_KERNEL_PX, _SIGMA_PX, _SIGMA_PX, 0)
