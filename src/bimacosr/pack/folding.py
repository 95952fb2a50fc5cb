"""A network that knows one time step: what the embedding gives there, as constants.

A one-step model is asked at one time step only. What its time embedding tells each residual block
is the same every time, so the fully connected layers that compute it (a tenth of the 1-bit weights
of the official student) become one vector a block.

Shapes: B batch; width is twice the block's output channels (scales, then shifts), or once where
the embedding is only added.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bimacosr.errors import ModelError
from bimacosr.networks.blocks import ResBlock, timestep_embedding
from bimacosr.networks.unet import UNetModelSwin

__all__ = ["FixedModulation", "fold_time_step", "is_folded_away", "modulations_at"]


class FixedModulation(nn.Module):
    """Stands for `ResBlock.emb_layers` at one time step."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = nn.Parameter(torch.zeros(width))

    def forward(self, emb: Tensor) -> Tensor:
        """The same (B, width) whatever the embedding `emb` of B pictures is."""
        return self.modulation.to(emb.dtype).expand(emb.shape[0], -1)


def modulations_at(network: nn.Module, step: int) -> dict[str, Tensor]:
    """What the embedding gives at time step `step`: the parameters that `fold_time_step` makes.

    Raises:
        ModelError: the network has no time embedding.
    """
    unet = _with_embedding(network)
    reference = next(unet.parameters())
    with torch.no_grad():
        steps = torch.tensor([step], device=reference.device)
        emb = unet.time_embed(timestep_embedding(steps, unet.model_channels).to(reference.dtype))
        return {
            f"{name}.emb_layers.modulation": block.emb_layers(emb)[0]
            for name, block in unet.named_modules()
            if isinstance(block, ResBlock)
        }


def fold_time_step(network: nn.Module) -> None:
    """Replace the time embedding of a float `network` by constants, zero at first.

    Raises:
        ModelError: the network has no time embedding.
    """
    unet = _with_embedding(network)
    unet.time_embed = nn.Sequential()
    for block in unet.modules():
        if isinstance(block, ResBlock):
            linear = block.emb_layers[1]
            assert isinstance(linear, nn.Linear)
            block.add_module("emb_layers", FixedModulation(linear.out_features))


def is_folded_away(key: str) -> bool:
    """Whether a parameter of that name belongs to the embedding."""
    return key.startswith("time_embed.") or ".emb_layers." in key


def _with_embedding(network: nn.Module) -> UNetModelSwin:
    if not isinstance(network, UNetModelSwin):
        raise ModelError(
            f"a {type(network).__name__} has no time embedding; pack it without naming a step"
        )
    return network
