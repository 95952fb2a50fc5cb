"""The averaged weights: what is shown, handed to the next stage, and shipped."""

from __future__ import annotations

import copy

import torch
from torch import nn

__all__ = ["Average"]


class Average:
    """An exponential moving average of a network's parameters; its buffers are copied.

    Args:
        network: What is averaged; the average begins as its copy.
        decay: Share of the old average, 0 up to 1. In the first steps it is lower,
            (1 + step) / (10 + step), so that the beginning is soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after step number `step`, counted from 0."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        pairs = zip(self.network.parameters(), network.parameters(), strict=True)
        for mean, now in pairs:
            mean.lerp_(now, share)
        for kept, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            kept.copy_(buffer)
