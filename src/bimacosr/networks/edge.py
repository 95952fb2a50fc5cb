"""EdgeNet: the denoiser of the edge family, fully convolutional and small.

It sees the noisy latent and the low-quality photo and predicts how far the clean latent lies
from z_y. It takes no statistics over space, so a tile gives the same pixels as the whole picture.

Shapes: B batch, C channels of the body, H and W of the low-quality grid (BCHW).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["EdgeBlock", "EdgeNet"]


class EdgeBlock(nn.Module):
    """``x + gain * prelu(conv(x + shift))``; `conv` is what becomes 1-bit.

    `shift` places the sign's threshold and `gain` scales the branch, both per channel; at run
    time they fold into the layer.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.act = nn.PReLU(channels)
        self.gain = nn.Parameter(torch.full((channels, 1, 1), 0.2))

    def forward(self, x: Tensor) -> Tensor:
        """BCHW to BCHW."""
        branch: Tensor = self.act(self.conv(x + self.shift))
        return x + self.gain * branch


class EdgeNet(nn.Module):
    """First convolution, residual blocks, last convolution.

    Args:
        channels: Width of the body.
        blocks: Number of residual blocks.
        scale: Enlargement; latents have ``3 * scale**2`` channels.
    """

    def __init__(self, channels: int = 64, blocks: int = 12, scale: int = 4) -> None:
        super().__init__()
        latent = 3 * scale**2
        self.first = nn.Conv2d(latent + 3, channels, 3, padding=1)
        self.body = nn.Sequential(*(EdgeBlock(channels) for _ in range(blocks)))
        self.last = nn.Conv2d(channels, latent, 3, padding=1)
        nn.init.zeros_(self.last.weight)  # an untrained network gives the bicubic picture
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x_t: Tensor, t: Tensor, lq: Tensor) -> Tensor:
        """Predict ``z_y - z_0``.

        Args:
            x_t: Noisy latent, B,3s^2,H,W; at one step ``z_y + kappa sqrt(eta_T) noise``.
            t: Time step; not used, since a one-step model knows one only.
            lq: The photo, B,3,H,W in [-1, 1].

        Returns:
            B,3s^2,H,W: the residual, ``z_0 = z_y - result`` (`predict_type="residual"`).
        """
        features = self.first(torch.cat([x_t, lq], dim=1))
        result: Tensor = self.last(self.body(features))
        return result
