"""A small 1-bit network whose numbers are all drawn, and its packed model."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bimacosr.binarize.convert import binarize
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.networks.edge import EdgeNet
from bimacosr.pack.format import PackedModel
from bimacosr.pack.modules import pack_network

NETWORK = {"channels": 70, "blocks": 2, "scale": 2}
SETTINGS = BinarizeSettings(
    rank=3,
    sign_of_zero=1,
    sign_gradient="bireal_relative",
    keep_float_conv=(KeepFloatRule(keywords=("first", "last")),),
)


@pytest.fixture(scope="session")
def student() -> nn.Module:
    torch.manual_seed(5)
    network = binarize(EdgeNet(**NETWORK), SETTINGS)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not name.endswith("move0.bias"):
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval().requires_grad_(False)


@pytest.fixture
def packed(student: nn.Module) -> PackedModel:
    return pack_network(
        student,
        name="small",
        family="edge",
        network=dict(NETWORK),
        binarize_settings=SETTINGS,
        diffusion={"kappa": 0.0, "predict_type": "residual"},
        license_name="Apache-2.0",
        extra={"steps": 7},
    )
