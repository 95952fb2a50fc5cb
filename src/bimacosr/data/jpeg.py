"""JPEG compression as tensor arithmetic: blocks, cosine transform, quantization and back.

Shapes: B batch, H and W in pixels (BCHW).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["jpeg"]

# Annex K of ITU-T T.81; read column by column, as the training code of ResShift does
_LUMA = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=torch.float32,
).T
_CHROMA = torch.full((8, 8), 99.0)
_CHROMA[:4, :4] = torch.tensor(
    [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]], dtype=torch.float32
).T
_TO_YCC = torch.tensor(
    [
        [0.299, 0.587, 0.114],
        [-0.168736, -0.331264, 0.5],
        [0.5, -0.418688, -0.081312],
    ]
)
_TO_RGB = torch.tensor([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])


_PLACE = torch.arange(8, dtype=torch.float64)
_COSINES = torch.cos((2 * _PLACE + 1) * _PLACE[:, None] * math.pi / 16)
"""The 8-point DCT, frequency x place, each row not yet of length 1."""
# what makes it orthonormal: apart, and powers of 2 where it matters, so that a flat block gives
# exactly 8 times its value; at quality 50 white lies just between two steps
_NORMS = torch.full((8, 8), 1 / 4, dtype=torch.float64)
_NORMS[0, :] = _NORMS[:, 0] = math.sqrt(1 / 32)
_NORMS[0, 0] = 1 / 8


def _through_blocks(plane: Tensor, table: Tensor) -> Tensor:
    """Quantize B,H,W planes (H, W multiples of 8) with B,8,8 tables, and come back."""
    b, h, w = plane.shape
    cosines, norms, step = _COSINES.to(plane), _NORMS.to(plane), table[:, None, None].to(plane)
    blocks = plane.view(b, h // 8, 8, w // 8, 8).transpose(2, 3)
    spectrum = torch.round((cosines @ (blocks - 128) @ cosines.T) * norms / step) * step
    return (cosines.T @ (spectrum * norms) @ cosines + 128).transpose(2, 3).reshape(b, h, w)


def jpeg(pictures: Tensor, quality: Tensor) -> Tensor:
    """What `pictures` look like after JPEG at `quality` (4:2:0).

    Args:
        pictures: B,3,H,W in [0, 1].
        quality: B, each from 1 to 100.

    Returns:
        B,3,H,W in [0, 1].
    """
    h, w = pictures.shape[2:]
    padded = F.pad(pictures, (0, -w % 16, 0, -h % 16)) * 255
    factor = torch.where(quality < 50, 50 / quality, 2 - quality / 50).clamp(min=1e-2)
    y, cb, cr = torch.einsum("cd,bdhw->cbhw", _TO_YCC.to(padded), padded)
    planes = []
    for plane, table in ((y, _LUMA), (cb + 128, _CHROMA), (cr + 128, _CHROMA)):
        small = plane if table is _LUMA else F.avg_pool2d(plane[:, None], 2)[:, 0]
        steps = table.to(padded) * factor.to(padded)[:, None, None]
        done = _through_blocks(small, steps)
        if table is _CHROMA:
            done = done.repeat_interleave(2, 1).repeat_interleave(2, 2) - 128
        planes.append(done)
    rgb = torch.einsum("cd,dbhw->bchw", _TO_RGB.to(padded), torch.stack(planes))
    return rgb[..., :h, :w].clamp(0, 255) / 255
