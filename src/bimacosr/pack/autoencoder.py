"""The first stage as a packed file: the VQ autoencoder's numbers as they are, with its settings.

It is family `vq` of `docs/packed-format.md`. Nothing in it is 1-bit. Its names and shapes are those
of the state dict, so that the file is a checkpoint, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from bimacosr.config.networks import AutoencoderSettings, vq_f4
from bimacosr.errors import ModelError, OptionError
from bimacosr.models.releases import VQ_F4
from bimacosr.pack.format import PackedModel
from bimacosr.pack.settings import restore_autoencoder

__all__ = [
    "FAMILY",
    "autoencoder_arrays",
    "autoencoder_entry",
    "check_autoencoder",
    "pack_autoencoder",
]

FAMILY = "vq"

Shape = tuple[int, ...]


def autoencoder_entry(settings: AutoencoderSettings) -> dict[str, Any]:
    """What the header of a packed student says of the autoencoder it works with."""
    return {"release": VQ_F4 if settings == vq_f4() else None, "settings": asdict(settings)}


def pack_autoencoder(
    state: Mapping[str, npt.NDArray[Any]],
    settings: AutoencoderSettings,
    *,
    name: str,
    license_name: str,
    extra: dict[str, Any] | None = None,
) -> PackedModel:
    """Pack the autoencoder with this state dict, in float32.

    Args:
        state: Its arrays by name.
        settings: Its shape.
        name: What to call the model.
        license_name: Licence of the weights, as an SPDX identifier.
        extra: Facts for people.

    Raises:
        ModelError: an array is missing, surplus or of another shape, or holds NaN.
    """
    model = PackedModel(
        name=name,
        family=FAMILY,
        network=asdict(settings),
        binarize={},
        diffusion={},
        license=license_name,
        tensors={key: np.ascontiguousarray(array, "<f4") for key, array in state.items()},
        extra=extra or {},
    )
    check_autoencoder(model)
    return model


def check_autoencoder(model: PackedModel) -> AutoencoderSettings:
    """The settings of a packed autoencoder, when every array fits them.

    Raises:
        ModelError: it is another network, or an array is missing, surplus, of another type or
            shape, or holds NaN or infinity.
    """
    if model.family != FAMILY:
        raise ModelError(
            f"the model {model.name!r} is of family {model.family!r}, no autoencoder; give it as"
            " the model"
        )
    left = dict(model.tensors)
    try:
        settings = restore_autoencoder(model.network)
        for name, shape in autoencoder_arrays(settings):
            array = left.pop(name, None)
            if array is None:
                raise ValueError(f"{name} is missing")
            if array.shape != shape or array.dtype != np.float32:
                raise ValueError(f"{name} is {array.dtype} {array.shape}, not float32 {shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds NaN or infinity")
        if left:
            raise ValueError(f"the network has no {', '.join(sorted(left)[:3])}")
    except (TypeError, ValueError, OptionError) as error:
        raise ModelError(
            f"the autoencoder {model.name!r} is damaged: its arrays do not fit its settings"
            f" ({error})"
        ) from error
    return settings


def autoencoder_arrays(settings: AutoencoderSettings) -> Iterator[tuple[str, Shape]]:
    """Names and shapes of all arrays in the state dict of `bimacosr.networks.vq.VQAutoencoder`."""
    widths = [factor * settings.channels for factor in settings.channel_mult]
    z, bottom = settings.z_channels, widths[-1]
    last = len(widths) - 1
    yield "quantize.embedding.weight", (settings.n_embed, settings.embed_dim)
    yield from _convolution("quant_conv", settings.embed_dim, z, 1)
    yield from _convolution("post_quant_conv", z, settings.embed_dim, 1)

    yield from _convolution("encoder.conv_in", widths[0], settings.in_channels)
    for i, (before, width) in enumerate(pairwise([widths[0], *widths])):
        yield from _level(f"encoder.down.{i}", before, width, settings.num_res_blocks)
        if i < last:
            yield from _convolution(f"encoder.down.{i}.downsample.conv", width, width)
    yield from _ends("encoder", bottom, bottom, z)

    yield from _convolution("decoder.conv_in", bottom, z)
    for i, (width, below) in enumerate(pairwise([*widths, bottom])):
        yield from _level(f"decoder.up.{i}", below, width, settings.num_res_blocks + 1)
        if i:
            yield from _convolution(f"decoder.up.{i}.upsample.conv", width, width)
    yield from _ends("decoder", bottom, widths[0], settings.out_channels)


def _level(name: str, c_in: int, c_out: int, blocks: int) -> Iterator[tuple[str, Shape]]:
    for i in range(blocks):
        yield from _res_block(f"{name}.block.{i}", c_out if i else c_in, c_out)


def _ends(name: str, middle: int, last: int, c_out: int) -> Iterator[tuple[str, Shape]]:
    """The middle of one way, and what comes at its end."""
    yield from _res_block(f"{name}.mid.block_1", middle, middle)
    yield from _norm(f"{name}.mid.attn_1.norm", middle)
    for part in ("q", "k", "v", "proj_out"):
        yield from _convolution(f"{name}.mid.attn_1.{part}", middle, middle, 1)
    yield from _res_block(f"{name}.mid.block_2", middle, middle)
    yield from _norm(f"{name}.norm_out", last)
    yield from _convolution(f"{name}.conv_out", c_out, last)


def _res_block(name: str, c_in: int, c_out: int) -> Iterator[tuple[str, Shape]]:
    yield from _norm(f"{name}.norm1", c_in)
    yield from _convolution(f"{name}.conv1", c_out, c_in)
    yield from _norm(f"{name}.norm2", c_out)
    yield from _convolution(f"{name}.conv2", c_out, c_out)
    if c_in != c_out:
        yield from _convolution(f"{name}.nin_shortcut", c_out, c_in, 1)


def _norm(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (channels,)
    yield f"{name}.bias", (channels,)


def _convolution(name: str, c_out: int, c_in: int, side: int = 3) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (c_out, c_in, side, side)
    yield f"{name}.bias", (c_out,)
