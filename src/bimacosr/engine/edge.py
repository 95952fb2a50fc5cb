"""From the arrays of a packed edge model to the native one."""

from __future__ import annotations

from typing import Any

import numpy as np

from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.config.edge import EdgeSettings
from bimacosr.diffusion.schedule import make_schedule
from bimacosr.engine.native import open_native
from bimacosr.errors import ModelError, OptionError
from bimacosr.pack.arrays import ArrayReader
from bimacosr.pack.format import PackedModel

__all__ = ["METHODS", "build_edge"]

METHODS = ("bimacosr", "xnor")
"""The binarizations whose layers the engine runs in an edge network."""


def build_edge(model: PackedModel, isa: str) -> Any:
    """The native network of a packed edge model, for one instruction set.

    Raises:
        ModelError: its arrays do not fit its settings, or it needs what the engine does not have.
    """
    try:
        return _build(model, isa)
    except (TypeError, KeyError, ValueError, OptionError) as error:
        raise ModelError(
            f"the model {model.name!r} is damaged: its arrays do not fit its settings ({error})"
        ) from error


def _build(model: PackedModel, isa: str) -> Any:
    native, settings = open_native(), EdgeSettings(**model.network)
    diffusion = DiffusionSettings(**model.diffusion)
    if diffusion.predict_type not in ("residual", "xstart") or diffusion.clip:
        raise ModelError(
            f"the model {model.name!r} predicts {diffusion.predict_type}, which the native engine "
            "does not do; use --backend torch"
        )
    if model.binarize["method"] not in METHODS:
        raise ModelError(
            f"the model {model.name!r} has layers of {model.binarize['method']}, which the native "
            "engine does not run; use --backend torch"
        )
    schedule = make_schedule(diffusion)
    noise_scale = float(schedule.kappa * schedule.sqrt_etas[-1])
    input_scale = 1.0
    if diffusion.normalize_input:
        spread = np.hypot(noise_scale, 1) if diffusion.latent_flag else 3 * noise_scale + 1
        input_scale = float(1 / spread)
    latent, channels = 3 * settings.scale**2, settings.channels
    arrays = ArrayReader(model.tensors)

    def convolution(name: str, c_out: int, c_in: int) -> Any:
        weight = arrays.half(f"{name}.weight", (c_out, c_in, 3, 3))
        return native.float_conv(isa, weight, arrays.half(f"{name}.bias", (c_out,)))

    body = [
        native.edge_block(
            _binary_layer(native, isa, arrays, f"body.{i}.conv", channels, model.binarize),
            arrays.half(f"body.{i}.shift", (channels, 1, 1)).ravel(),
            arrays.half(f"body.{i}.act.weight", (channels,)),
            arrays.half(f"body.{i}.gain", (channels, 1, 1)).ravel(),
        )
        for i in range(settings.blocks)
    ]
    first = convolution("first", channels, latent + 3)
    last = convolution("last", latent, channels)
    arrays.finish()
    residual = diffusion.predict_type == "residual"
    return native.edge_model(settings.scale, first, body, last, noise_scale, input_scale, residual)


def _binary_layer(
    native: Any, isa: str, arrays: ArrayReader, name: str, channels: int, binarize: dict[str, Any]
) -> Any:
    """A 1-bit 3x3 layer with as many outputs as inputs."""
    c = channels
    around = _around_bimacosr(arrays, name, c, binarize) if binarize["method"] != "xnor" else {}
    return native.binary_layer(
        isa,
        arrays.take(f"{name}.signs", (c, 9, -(-c // 64)), "uint64"),
        c,
        arrays.half(f"{name}.scale", (c,)),
        arrays.half(f"{name}.bias", (c,)),
        zero_is_positive=binarize["sign_of_zero"] == 1,
        **around,
    )


def _around_bimacosr(
    arrays: ArrayReader, name: str, c: int, binarize: dict[str, Any]
) -> dict[str, Any]:
    """What BiMaCoSR has around a 1-bit layer, and XNOR-Net has not: RPReLU and the branches."""
    rprelu = [
        arrays.half(f"{name}.relu.pr_bias0.bias", (1, c)).ravel(),
        arrays.half(f"{name}.relu.pr_prelu.weight", (c,)),
        arrays.half(f"{name}.relu.pr_bias1.bias", (1, c)).ravel(),
    ]
    parts: dict[str, Any] = {"rprelu": np.stack(rprelu)}
    if binarize["sparse"]:
        indices = arrays.indices(f"{name}.skip_connection.indices", (c, c))
        parts["sparse_indices"] = indices
        parts["sparse_values"] = arrays.half(f"{name}.skip_connection.values", (indices.shape[1],))
    if binarize["low_rank"]:
        rank = min(int(binarize["rank"]), c)
        parts["low_rank_in"] = arrays.half(f"{name}.lora.A.weight", (rank, c, 1, 1))[..., 0, 0]
        parts["low_rank_out"] = arrays.half(f"{name}.lora.B.weight", (c, rank, 1, 1))[..., 0, 0]
    return {key: np.ascontiguousarray(value) for key, value in parts.items()}
