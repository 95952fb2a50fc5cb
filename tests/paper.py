"""Small networks of the paper family with weights from a seed, and their checkpoint files."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import nn

from bimacosr.binarize.convert import binarize
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.networks import AutoencoderSettings, UNetSettings
from bimacosr.networks.unet import UNetModelSwin, build_unet
from bimacosr.networks.vq import VQAutoencoder, build_autoencoder

UNET = UNetSettings(
    model_channels=32,
    channel_mult=(1, 2),
    num_res_blocks=(1, 1),
    attention_resolutions=(64, 32),
    swin_embed_dim=32,
    num_head_channels=16,
    mlp_ratio=2,
)
"""Takes latents that are multiples of 16."""

VQ = AutoencoderSettings(channels=32, num_res_blocks=1, n_embed=64)

RULE = KeepFloatRule(keywords=("input_blocks.0.0", "out.2"))


@cache
def unet() -> UNetModelSwin:
    """The float network."""
    torch.manual_seed(1)
    return build_unet(UNET).eval()


@cache
def student(method: str) -> UNetModelSwin:
    """The float network made 1-bit."""
    torch.manual_seed(2)
    return binarize(unet(), BinarizeSettings(method=method, rank=4, keep_float_conv=(RULE,))).eval()


@cache
def autoencoder() -> VQAutoencoder:
    """The first stage."""
    torch.manual_seed(3)
    return build_autoencoder(VQ).eval()


def write(path: Path, network: nn.Module) -> Path:
    """The network's checkpoint, as a trainer writes it, at `path`."""
    torch.save({"state_dict": network.state_dict()}, path)
    return path
