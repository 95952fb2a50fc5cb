"""Small networks to count, and inputs for them, on the meta device."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bimacosr.binarize.convert import binarize
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.networks import UNetSettings
from bimacosr.networks.unet import build_unet

TINY = UNetSettings(
    image_size=16,
    model_channels=32,
    channel_mult=(1, 2),
    num_res_blocks=(1, 1),
    attention_resolutions=(16, 8),
    swin_embed_dim=64,
)
KEEP = (KeepFloatRule(keywords=("input_blocks.0.0", "out.2")),)


def tiny_unet(settings: UNetSettings = TINY) -> nn.Module:
    """A float UNet of two levels; windows of 8, so that the lower one is not shifted."""
    with torch.device("meta"):
        return build_unet(settings)


def tiny_student(method: str = "bimacosr", **options: object) -> nn.Module:
    """The same, binarized by `method`."""
    settings = BinarizeSettings(method=method, keep_float_conv=KEEP, **options)
    with torch.device("meta"):
        return binarize(tiny_unet(), settings)


def unet_inputs(height: int = 16, width: int = 16) -> tuple[Tensor, ...]:
    """Latent, time step and low-quality picture."""
    return (
        torch.empty(1, 3, height, width, device="meta"),
        torch.empty(1, dtype=torch.int64, device="meta"),
        torch.empty(1, 3, height, width, device="meta"),
    )
