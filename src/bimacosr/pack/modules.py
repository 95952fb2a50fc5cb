"""Between a trained PyTorch network and the arrays of its packed file, both ways.

A 1-bit layer becomes bits, a scale an output channel and float16 branches; every other parameter
becomes float16. Parameters without effect (`move0`, `channel_threshold`) are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import nn

from bimacosr.binarize.convert import binarize, layers_to_replace
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.edge import EdgeSettings
from bimacosr.errors import ModelError
from bimacosr.networks.edge import EdgeNet
from bimacosr.pack.format import Array, PackedModel, pack_signs, unpack_signs

__all__ = ["FAMILIES", "pack_network", "rebuild_network"]


def _edge(settings: dict[str, Any]) -> nn.Module:
    edge = EdgeSettings(**settings)
    return EdgeNet(edge.channels, edge.blocks, edge.scale)


FAMILIES: dict[str, Callable[[dict[str, Any]], nn.Module]] = {"edge": _edge}
"""Makes the float network of a family from its settings."""

_SIGNS, _SCALE = ".signs", ".scale"
_NO_EFFECT = ("move0.bias", "channel_threshold")


def pack_network(
    student: nn.Module,
    *,
    name: str,
    family: str,
    network: dict[str, Any],
    binarize_settings: BinarizeSettings,
    diffusion: dict[str, Any],
    license_name: str,
    extra: dict[str, Any] | None = None,
) -> PackedModel:
    """Pack a binarized `student` of `family` with those settings.

    Raises:
        ModelError: a 1-bit weight is exactly 0, or a number does not fit float16.
    """
    layers = set(layers_to_replace(FAMILIES[family](network), binarize_settings))
    tensors: dict[str, Array] = {}
    for key, tensor in student.state_dict().items():
        array = tensor.detach().float().numpy()
        owner, _, leaf = key.rpartition(".")
        if owner in layers and leaf == "weight":
            tensors[owner + _SIGNS] = pack_signs(array)
            dims = tuple(range(1, array.ndim))
            tensors[owner + _SCALE] = _half(np.abs(array).mean(dims), key)
        elif key.endswith("indices_float"):
            tensors[key.removesuffix("_float")] = np.rint(array).astype(np.uint16)
        elif not key.endswith(_NO_EFFECT):
            tensors[key] = _half(array, key)
    return PackedModel(
        name=name,
        family=family,
        network=network,
        binarize=asdict(binarize_settings),
        diffusion=diffusion,
        license=license_name,
        tensors=tensors,
        extra=extra or {},
    )


def rebuild_network(model: PackedModel) -> nn.Module:
    """The network of a packed model, in float32 and in evaluation mode.

    Raises:
        ModelError: the family is not known, or the arrays do not fit the settings.
    """
    if model.family not in FAMILIES:
        raise ModelError(
            f"the model {model.name!r} is of family {model.family!r}, which this version does not "
            f"know (it knows {', '.join(FAMILIES)}); update bimacosr"
        )
    try:
        network = FAMILIES[model.family](model.network)
        student = binarize(network, _settings(model.binarize))
        state = student.state_dict()
        for key in state:
            if not key.endswith(_NO_EFFECT):
                state[key] = torch.from_numpy(_expand(model.tensors, key, tuple(state[key].shape)))
        student.load_state_dict(state)
    except (TypeError, KeyError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"the model {model.name!r} is damaged: its arrays do not fit its settings ({error})"
        ) from error
    return student.eval().requires_grad_(False)


def _expand(tensors: dict[str, Array], key: str, shape: tuple[int, ...]) -> Array:
    """The float32 array of a state-dict entry."""
    owner, _, leaf = key.rpartition(".")
    if leaf == "weight" and owner + _SIGNS in tensors:
        signs = unpack_signs(tensors[owner + _SIGNS], shape[1])
        scale = tensors[owner + _SCALE].astype(np.float32)
        return (signs * scale[:, None, None]).reshape(shape)
    if key.endswith("indices_float"):
        key = key.removesuffix("_float")
    array = tensors[key].astype(np.float32)
    if array.shape != shape:
        raise ValueError(f"{key} is {array.shape}, not {shape}")
    return array


def _half(array: Array, key: str) -> Array:
    if not np.all(np.abs(array) < np.finfo(np.float16).max):
        raise ModelError(f"{key} holds a number that does not fit float16; it cannot be packed")
    return array.astype(np.float16)


def _settings(stored: dict[str, Any]) -> BinarizeSettings:
    def rules(key: str) -> tuple[KeepFloatRule, ...]:
        return tuple(
            KeepFloatRule(keywords=tuple(r["keywords"]), max_parameters=r["max_parameters"])
            for r in stored[key]
        )

    lists = {key: rules(key) for key in ("keep_float_conv", "keep_float_linear")}
    return BinarizeSettings(**(stored | lists))
