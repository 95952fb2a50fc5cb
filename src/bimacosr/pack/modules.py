"""Between a trained PyTorch network and the arrays of its packed file, both ways.

A 1-bit layer becomes bits and a scale an output channel; every other parameter becomes float16, but
those without effect, which are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bimacosr.binarize.convert import binarize, layers_to_replace
from bimacosr.config.binarize import BinarizeSettings
from bimacosr.errors import ModelError
from bimacosr.pack.arrays import ArrayReader
from bimacosr.pack.effect import has_no_effect
from bimacosr.pack.families import COMPUTED, FAMILIES, compute_buffers
from bimacosr.pack.folding import fold_time_step, is_folded_away, modulations_at
from bimacosr.pack.format import PackedModel
from bimacosr.pack.layers import TWO_TERMS, take_layer
from bimacosr.pack.settings import restore_binarization
from bimacosr.pack.weights import half, pack_weight

__all__ = ["FAMILIES", "check_network", "pack_network", "rebuild_network"]


def pack_network(
    student: nn.Module,
    *,
    name: str,
    family: str,
    network: dict[str, Any],
    binarize_settings: BinarizeSettings,
    diffusion: dict[str, Any],
    license_name: str,
    step: int | None = None,
    autoencoder: dict[str, Any] | None = None,
    extra: dict[str, Any] | None = None,
) -> PackedModel:
    """Pack a binarized `student` of `family` with those settings.

    Args:
        student: The network, of any method; it stays as it is.
        name: What to call the model.
        family: A key of `bimacosr.pack.families.FAMILIES`.
        network: Settings of the float network.
        binarize_settings: How its layers became 1-bit.
        diffusion: Fields of `DiffusionSettings`.
        license_name: Licence of the weights, as an SPDX identifier.
        step: The one time step at which the network will be asked, so that its embedding becomes
            constants; None keeps an embedding.
        autoencoder: See `PackedModel.autoencoder`.
        extra: Facts for people.

    Raises:
        ModelError: a number does not fit float16, a weight is NaN, or is 0 where the method has
            two terms, or there is no embedding to fold.
    """
    with torch.device("meta"):
        shapes = FAMILIES[family](network)
    names = layers_to_replace(shapes, binarize_settings)
    state = {
        key: tensor
        for key, tensor in student.state_dict().items()
        if step is None or not is_folded_away(key)
    }
    if step is not None:
        state |= modulations_at(student, step)
        names = [layer for layer in names if not is_folded_away(f"{layer}.weight")]
    weights = {f"{layer}.weight": layer for layer in names}
    two_terms = binarize_settings.method in TWO_TERMS
    tensors: dict[str, npt.NDArray[Any]] = {}
    for key, tensor in state.items():
        array = tensor.detach().float().cpu().numpy()
        if key in weights:
            tensors |= pack_weight(weights[key], array, two_terms=two_terms)
        elif key.endswith(COMPUTED) or has_no_effect(student, key, binarize_settings.method):
            continue
        elif key.endswith("indices_float"):
            tensors[key.removesuffix("_float")] = np.rint(array).astype(np.uint16)
        else:
            tensors[key] = half(array, key)
    return PackedModel(
        name=name,
        family=family,
        network=network,
        binarize=asdict(binarize_settings),
        diffusion=diffusion,
        step=step,
        autoencoder=autoencoder or {},
        one_bit={layer: list(state[key].shape) for key, layer in weights.items()},
        license=license_name,
        tensors=tensors,
        extra=extra or {},
    )


def rebuild_network(model: PackedModel) -> nn.Module:
    """The network of a packed model, in float32 and in evaluation mode.

    Where the time step is folded, the network computes the same at any step that it is told.

    Raises:
        ModelError: the family is not known, or the arrays do not fit the settings.
    """
    student, shapes = _empty_network(model)
    try:
        state = {k: torch.from_numpy(array) for k, array in _state(model, student, shapes)}
        student.load_state_dict(state, strict=False, assign=True)
    except (TypeError, KeyError, ValueError, RuntimeError) as error:
        raise _damaged(model, error) from error
    compute_buffers(student)
    return student.eval().requires_grad_(False)


def check_network(model: PackedModel) -> dict[str, list[int]]:
    """Do all that `rebuild_network` does, layer by layer, and keep nothing.

    Returns:
        Shape of the weight of each 1-bit layer.

    Raises:
        ModelError: as for `rebuild_network`.
    """
    student, shapes = _empty_network(model)
    try:
        for _ in _state(model, student, shapes):
            pass
    except (TypeError, KeyError, ValueError, RuntimeError) as error:
        raise _damaged(model, error) from error
    return shapes


def _empty_network(model: PackedModel) -> tuple[nn.Module, dict[str, list[int]]]:
    """The network on the meta device, and the weight shapes of its 1-bit layers.

    Nothing of that size is made before the arrays are checked.
    """
    if model.family not in FAMILIES:
        raise ModelError(
            f"the model {model.name!r} is of family {model.family!r}, which this version does not "
            f"know (it knows {', '.join(FAMILIES)}); update bimacosr"
        )
    try:
        with torch.device("meta"):
            network = FAMILIES[model.family](model.network)
            if model.step is not None:
                fold_time_step(network)
            settings = restore_binarization(model.binarize)
            student = binarize(network, settings)
        shapes = {
            name: list(network.get_submodule(name).weight.shape)  # type: ignore[arg-type]
            for name in layers_to_replace(network, settings)
        }
    except (ModelError, TypeError, KeyError, ValueError, RuntimeError) as error:
        raise _damaged(model, error) from error
    if model.one_bit and model.one_bit != shapes:
        raise _damaged(model, ValueError("its list of 1-bit layers is another network's"))
    return student, shapes


def _state(
    model: PackedModel, student: nn.Module, one_bit: dict[str, list[int]]
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Entries of the state dict, one by one as they are made of the model's arrays.

    Raises:
        ValueError: an array is missing, damaged or too much.
    """
    arrays, method = ArrayReader(model.tensors), str(model.binarize["method"])
    layers = {f"{name}.weight": name for name in one_bit}
    for key, entry in student.state_dict().items():
        shape = tuple(entry.shape)
        if key in layers:
            layer = take_layer(arrays, layers[key], shape, two_terms=method in TWO_TERMS)
            yield key, layer.weight()
        elif key.endswith(COMPUTED):
            continue
        elif has_no_effect(student, key, method):
            yield key, np.zeros(shape, np.float32)
        elif key.endswith("indices_float"):
            owner = student.get_submodule(key.removesuffix(".skip_connection.indices_float"))
            indices = arrays.indices(key.removesuffix("_float"), _matrix_shape(owner))
            if indices.shape != shape:
                raise ValueError(f"{key} is {indices.shape}, not {shape}")
            yield key, indices.astype(np.float32)
        else:
            yield key, arrays.half(key, shape)
    arrays.finish()


def _matrix_shape(layer: nn.Module) -> tuple[int, int]:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.shape[0], weight.shape[1]


def _damaged(model: PackedModel, error: Exception) -> ModelError:
    return ModelError(
        f"the model {model.name!r} is damaged: its arrays do not fit its settings ({error})"
    )
