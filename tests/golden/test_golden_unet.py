"""The float Swin-UNet against the official outputs on synthetic weights."""

from __future__ import annotations

from typing import Any

import pytest
import reference as ref
import torch

from bimacosr.config.networks import UNetSettings, realsrx4_unet
from bimacosr.networks.blocks import timestep_embedding
from bimacosr.networks.unet import UNetModelSwin, build_unet

GOLDENS = ("unet_fp_tiny", "unet_fp_full")
RUNS = [
    ("unet_fp_tiny", "t14"),
    ("unet_fp_tiny", "t3_0"),
    ("unet_fp_tiny", "rect"),
    ("unet_fp_full", "t14"),
    pytest.param("unet_fp_full", "t3", marks=pytest.mark.slow),
    pytest.param("unet_fp_full", "rect", marks=pytest.mark.slow),
]
# Modules that the official code has and ours does without: dropouts of rate 0, the softmax as a
# module, and norms that are switched off.
ABSENT = ("attn_drop", "proj_drop", "softmax", "drop_path", "mlp.drop", "patch_embed.norm")
ABSENT = (*ABSENT, "patch_unembed.norm")


def settings_of(config: dict[str, Any]) -> UNetSettings:
    names = UNetSettings.__dataclass_fields__
    chosen = {name: config[name] for name in names}
    return UNetSettings(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in chosen.items()}
    )


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=["f64", "f32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    value: torch.dtype = request.param
    return value


@pytest.fixture(scope="module")
def networks(dtype: torch.dtype) -> dict[str, UNetModelSwin]:
    made = {}
    for golden in GOLDENS:
        with torch.device("meta"):
            network = build_unet(settings_of(ref.meta(golden)["config"]))
        network = network.to_empty(device="cpu")
        made[golden] = network
    return made
