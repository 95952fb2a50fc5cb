"""A tiny denoiser and autoencoder, and their states."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bimacosr.config.networks import AutoencoderSettings, UNetSettings
from bimacosr.networks.unet import build_unet
from bimacosr.networks.vq import build_autoencoder

State = dict[str, Tensor]


@pytest.fixture(scope="session")
def unet_settings() -> UNetSettings:
    return UNetSettings(
        image_size=16,
        model_channels=32,
        channel_mult=(1, 2),
        num_res_blocks=(1, 2),
        attention_resolutions=(16,),
        swin_embed_dim=32,
        num_head_channels=16,
        mlp_ratio=2,
        use_scale_shift_norm=False,
    )


@pytest.fixture(scope="session")
def vq_settings() -> AutoencoderSettings:
    return AutoencoderSettings(
        channels=32, channel_mult=(1, 2), num_res_blocks=1, embed_dim=4, n_embed=16
    )


@pytest.fixture
def unet_state(unet_settings: UNetSettings) -> State:
    torch.manual_seed(0)
    return build_unet(unet_settings).state_dict()


@pytest.fixture
def vq_state(vq_settings: AutoencoderSettings) -> State:
    torch.manual_seed(1)
    return build_autoencoder(vq_settings).state_dict()
