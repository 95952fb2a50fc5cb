"""The denoiser of the edge family while it still walks many steps: EdgeNet told the time step.

Each block's threshold is moved by an offset that depends on the step. At one step the offsets are
constants and fold into the thresholds: `at_step` gives the plain `EdgeNet` that computes the same.

Shapes: B batch, C channels of the body, H and W of the low-quality grid (BCHW).
"""

from __future__ import annotations

import copy
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimacosr.networks.blocks import timestep_embedding
from bimacosr.networks.edge import EdgeBlock, EdgeNet

__all__ = ["TimedEdgeNet"]

EMBEDDING = 32
"""Width of the embedding of the time step."""


class TimedEdgeNet(nn.Module):
    """EdgeNet with thresholds that depend on the time step; untrained, on no step at all.

    Args:
        channels, blocks, scale: As for `EdgeNet`.
    """

    def __init__(self, channels: int = 64, blocks: int = 12, scale: int = 4) -> None:
        super().__init__()
        self.net = EdgeNet(channels, blocks, scale)
        self.embed = nn.Linear(EMBEDDING, EMBEDDING)
        self.offsets = nn.Linear(EMBEDDING, blocks * channels)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.offsets.bias)

    def forward(self, x_t: Tensor, t: Tensor, lq: Tensor) -> Tensor:
        """As `EdgeNet.forward`, with the time step `t` (B,) in use."""
        offsets = self.offsets_at(t)
        x: Tensor = self.net.first(torch.cat([x_t, lq], dim=1))
        for i, block in enumerate(self.net.body):
            block = cast(EdgeBlock, block)
            branch = block.act(block.conv(x + block.shift + offsets[:, i]))
            x = x + block.gain * branch
        result: Tensor = self.net.last(x)
        return result

    def offsets_at(self, t: Tensor) -> Tensor:
        """What is added to the thresholds of each block, (B, blocks, C, 1, 1)."""
        embedding = F.silu(self.embed(timestep_embedding(t, EMBEDDING)))
        offsets: Tensor = self.offsets(embedding)
        return offsets.view(len(t), len(self.net.body), -1, 1, 1)

    @torch.no_grad()
    def at_step(self, t: int) -> EdgeNet:
        """The plain network that computes the same at the time step `t`."""
        net = copy.deepcopy(self.net)
        device = self.offsets.weight.device
        for block, offset in zip(
            net.body, self.offsets_at(torch.tensor([t], device=device))[0], strict=True
        ):
            cast(EdgeBlock, block).shift.add_(offset)
        return net
