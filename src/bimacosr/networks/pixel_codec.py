"""The codec of the edge family: no parameters, no work; pixels move between space and channels.

Shapes: B batch, H and W of the low-quality grid, s the scale. Pictures B,3,sH,sW in [-1, 1];
latents B,3s^2,H,W.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["PixelCodec"]


class PixelCodec(nn.Module):
    """Pixel unshuffle and shuffle in the shape of an autoencoder."""

    def __init__(self, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale

    def encode(self, picture: Tensor) -> Tensor:
        """Picture to latent; height and width must be multiples of the scale."""
        return F.pixel_unshuffle(picture, self.scale)

    def decode(self, latent: Tensor) -> Tensor:
        """Latent to picture; the exact inverse of `encode`."""
        return F.pixel_shuffle(latent, self.scale)
