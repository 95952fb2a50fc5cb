"""An edge model out of its state dict, ready to be packed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from bimacosr.binarize.convert import binarize
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.edge import EdgeSettings
from bimacosr.errors import ModelError
from bimacosr.networks.edge import EdgeNet

__all__ = ["edge_student"]

_RULE = KeepFloatRule(keywords=("first", "last"))


def edge_student(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The student with this state, as arguments of `pack_network`.

    Shapes and branches are read off the keys. What they cannot show is the same in every edge model
    that `scripts/train_edge.py` makes: sign(0) is +1, the chain has no noise, and the network
    predicts the residual.

    Raises:
        ModelError: a key is missing, surplus or of another shape, or the layers are not 1-bit.
    """
    if "body.0.conv.move0.bias" not in state:
        raise ModelError("its layers are float; train it on in a 1-bit phase first")
    try:
        settings, method = _settings(state), _binarization(state)
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(f"it looks like an edge model, but has other shapes ({error})") from error
    with torch.device("meta"):
        network = EdgeNet(settings.channels, settings.blocks, settings.scale)
        student = binarize(network, method)
    expected = student.state_dict()
    differing = [
        key for key in {**expected, **state} if _shape(expected, key) != _shape(state, key)
    ]
    if differing:
        key = differing[0]
        raise ModelError(
            f"its keys do not fit the network: {key} is {_shape(state, key)} instead of"
            f" {_shape(expected, key)}"
        )
    student.load_state_dict(dict(state), assign=True)
    return {
        "student": student.eval(),
        "family": "edge",
        "network": asdict(settings),
        "binarize_settings": method,
        "diffusion": {"kappa": 0.0, "predict_type": "residual"},
    }


def _settings(state: Mapping[str, Tensor]) -> EdgeSettings:
    found = (re.match(r"body\.(\d+)\.", key) for key in state)
    return EdgeSettings(
        channels=state["first.weight"].shape[0],
        blocks=1 + max(int(match[1]) for match in found if match),
        scale=math.isqrt(state["last.weight"].shape[0] // 3),
    )


def _binarization(state: Mapping[str, Tensor]) -> BinarizeSettings:
    factor = state.get("body.0.conv.lora.A.weight")
    return BinarizeSettings(
        low_rank=factor is not None,
        rank=BinarizeSettings().rank if factor is None else factor.shape[0],
        sparse="body.0.conv.skip_connection.values" in state,
        sign_of_zero=1,
        sign_gradient="bireal_relative",
        keep_float_conv=(_RULE,),
    )


def _shape(state: Mapping[str, Tensor], key: str) -> tuple[int, ...] | None:
    """Shape of an entry, or None if there is none."""
    return tuple(state[key].shape) if key in state else None
