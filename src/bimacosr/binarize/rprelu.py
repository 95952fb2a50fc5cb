"""RPReLU and the learned offsets it is made of (ReActNet, arXiv 2003.03488, section 4.2).

Official checkpoints store an offset as 1 x C (BiMaCoSR) or as 1 x C x 1 x 1 (the other methods).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ChannelBias", "RPReLU"]


class ChannelBias(nn.Module):
    """A learned offset a channel, stored 1 x C, or 1 x C x 1 x 1 with `stored_as_map`."""

    def __init__(self, channels: int, *, stored_as_map: bool = False) -> None:
        super().__init__()
        shape = (1, channels, 1, 1) if stored_as_map else (1, channels)
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Add the offset to BCHW maps."""
        return x + self.bias.reshape(1, -1, 1, 1)


class RPReLU(nn.Module):
    """PReLU between two learned offsets."""

    def __init__(self, channels: int, *, stored_as_map: bool = False) -> None:
        super().__init__()
        self.pr_bias0 = ChannelBias(channels, stored_as_map=stored_as_map)
        self.pr_prelu = nn.PReLU(channels)
        self.pr_bias1 = ChannelBias(channels, stored_as_map=stored_as_map)

    def forward(self, x: Tensor) -> Tensor:
        """BCHW to BCHW."""
        result: Tensor = self.pr_bias1(self.pr_prelu(self.pr_bias0(x)))
        return result
