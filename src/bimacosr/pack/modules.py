"""Between a trained PyTorch network and the arrays of its packed file, both ways.

A 1-bit layer becomes bits, a scale an output channel and float16 branches; every other parameter
becomes float16. Parameters without effect (`move0`, `channel_threshold`) are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import nn

from bimacosr.binarize.branches import SparseBranch
from bimacosr.binarize.convert import binarize, layers_to_replace
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.edge import EdgeSettings
from bimacosr.errors import ModelError
from bimacosr.networks.edge import EdgeNet
from bimacosr.pack.arrays import ArrayReader
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
        ModelError: a 1-bit weight is exactly 0, a number does not fit float16, or the method is
            not BiMaCoSR: other methods have parameters that the file has no place for.
    """
    if binarize_settings.method != "bimacosr":
        raise ModelError(
            f"a packed file holds layers of bimacosr only, not of {binarize_settings.method!r}"
        )
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
        with torch.device("meta"):  # shapes only: nothing is made before it is checked
            settings = _settings(model.binarize)
            network = FAMILIES[model.family](model.network)
            student = binarize(network, settings)
        layers = {f"{name}.weight" for name in layers_to_replace(network, settings)}
        arrays = ArrayReader(model.tensors)
        state = {
            key: torch.from_numpy(_expand(arrays, key, tuple(entry.shape), key in layers))
            for key, entry in student.state_dict().items()
        }
        arrays.finish()
        _check_sparse(student, state)
        student.load_state_dict(state, assign=True)
    except (TypeError, KeyError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"the model {model.name!r} is damaged: its arrays do not fit its settings ({error})"
        ) from error
    return student.eval().requires_grad_(False)


def _expand(arrays: ArrayReader, key: str, shape: tuple[int, ...], bits: bool) -> Array:
    """The float32 array of a state-dict entry; what it is made of is taken out of `arrays`."""
    if key.endswith(_NO_EFFECT):
        return np.zeros(shape, np.float32)
    if bits:
        owner = key.removesuffix(".weight")
        c_out, c_in, *kernel = shape
        words = (c_out, math.prod(kernel), -(-c_in // 64))
        signs = unpack_signs(arrays.take(owner + _SIGNS, words, "uint64"), c_in)
        weight = signs * arrays.half(owner + _SCALE, (c_out,))[:, None, None]
        return np.ascontiguousarray(weight.reshape(shape))
    if key.endswith("indices_float"):
        name = key.removesuffix("_float")
        return arrays.take(name, shape, "uint16").astype(np.float32)
    return arrays.half(key, shape)


def _check_sparse(student: nn.Module, state: dict[str, torch.Tensor]) -> None:
    for name, branch in student.named_modules():
        if isinstance(branch, SparseBranch):
            rows, columns = state[f"{name}.indices_float"]
            if rows.max() >= branch.shape[0] or columns.max() >= branch.shape[1]:
                raise ValueError(f"{name}.indices point outside of the layer's {branch.shape}")


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
