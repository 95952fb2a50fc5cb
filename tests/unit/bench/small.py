"""A student that is small enough to be built, written and run in a moment."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from bimacosr.binarize.convert import binarize
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.networks import UNetSettings
from bimacosr.networks.unet import build_unet

SMALL = UNetSettings(
    image_size=16,
    model_channels=32,
    channel_mult=(1, 2),
    num_res_blocks=(1, 1),
    attention_resolutions=(16, 8),
    swin_embed_dim=64,
)


def float_unet() -> nn.Module:
    """A float UNet of two levels."""
    torch.manual_seed(0)
    return build_unet(SMALL)


def save_student(path: Path) -> Path:
    """A BiMaCoSR student of that UNet, written as a checkpoint."""
    keep = (KeepFloatRule(keywords=("input_blocks.0.0", "out.2")),)
    student = binarize(float_unet(), BinarizeSettings(rank=4, keep_float_conv=keep))
    save_file({k: v.contiguous() for k, v in student.state_dict().items()}, path)
    return path
