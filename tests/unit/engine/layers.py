"""Torch layers and the native ones made from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from bimacosr.binarize.convert import binarize
from bimacosr.config.binarize import BinarizeSettings
from bimacosr.engine.native import open_native
from bimacosr.pack.format import pack_signs


def torch_layer(
    c_in: int, c_out: int, kernel: int, seed: int, settings: BinarizeSettings
) -> nn.Module:
    """A 1-bit convolution with every parameter away from its initial value."""
    torch.manual_seed(seed)
    conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2)
    layer = binarize(nn.Sequential(conv), settings)[0]
    with torch.no_grad():
        for parameter in layer.parameters():
            if parameter.ndim < 3 or parameter.shape[0] != c_out:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return layer.eval().requires_grad_(False)


def native_layer(layer: nn.Module, isa: str, *, zero_is_positive: bool, **others: Any) -> Any:
    """The native layer with the same parameters; `others` go to the native module."""

    def floats(name: str) -> np.ndarray:
        return np.ascontiguousarray(layer.get_parameter(name).detach().numpy(), np.float32)

    weight = floats("weight")
    branches: dict[str, Any] = {}
    if layer.skip_connection is not None:
        indices = layer.skip_connection.indices_float.round().int().numpy()
        branches["sparse_indices"] = np.ascontiguousarray(indices, np.int32)
        branches["sparse_values"] = floats("skip_connection.values")
    if layer.lora is not None:
        branches["low_rank_in"] = floats("lora.A.weight")[..., 0, 0].copy()
        branches["low_rank_out"] = floats("lora.B.weight")[..., 0, 0].copy()
    rprelu = [
        floats("relu.pr_bias0.bias").ravel(),
        floats("relu.pr_prelu.weight"),
        floats("relu.pr_bias1.bias").ravel(),
    ]
    return open_native().binary_layer(
        isa,
        pack_signs(weight),
        weight.shape[1],
        np.abs(weight).mean((1, 2, 3)),
        floats("bias"),
        np.stack(rprelu),
        zero_is_positive=zero_is_positive,
        **branches,
        **others,
    )
