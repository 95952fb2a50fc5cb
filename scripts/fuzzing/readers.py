"""Sound packed files, and every way that one is read and run here."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from bimacosr.binarize.convert import binarize
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.config.edge import EdgeSettings
from bimacosr.config.networks import AutoencoderSettings, UNetSettings
from bimacosr.config.upscale import SamplingSettings
from bimacosr.engine import instruction_sets
from bimacosr.engine.first_stage import open_first_stage
from bimacosr.engine.open import open_packed
from bimacosr.errors import LimitError, ModelError, OptionError
from bimacosr.networks.edge import EdgeNet
from bimacosr.networks.unet import build_unet
from bimacosr.networks.vq import build_autoencoder
from bimacosr.pack.autoencoder import FAMILY, pack_autoencoder
from bimacosr.pack.format import PackedModel, read_packed, write_packed
from bimacosr.pack.layers import packed_layers
from bimacosr.pack.modules import pack_network, rebuild_network

__all__ = ["load", "originals"]

_REFUSALS = (ModelError, OptionError, LimitError)

_LARGEST_SIDE = 64
"""Of a latent, in pixels; a network that needs larger ones is made, and not run."""


def load(path: Path, first_stage: Path, *, with_torch: bool = True) -> str:
    """Read a file in every way, and run what the native engine makes of it.

    Args:
        path: The file.
        first_stage: A sound autoencoder for students.
        with_torch: PyTorch, too, which takes twenty times as long as all others.

    Returns:
        How far it came: "loaded", or the first way that refused it: "file", "layers", "native",
        "torch".

    Raises:
        Exception: anything but a refusal: a bug.
    """
    try:
        model = read_packed(path)
    except _REFUSALS:
        return "file"
    ways: dict[str, Callable[[], object]]
    if model.family == FAMILY:
        ways = {"native": lambda: _run_autoencoder(path)}
    else:
        ways = {"layers": lambda: packed_layers(model), "native": lambda: _run(model, first_stage)}
        if with_torch:
            ways["torch"] = lambda: rebuild_network(model)
    refused = []
    for name, way in ways.items():
        try:
            way()
        except _REFUSALS:
            refused.append(name)
    return refused[0] if refused else "loaded"


def originals(folder: Path) -> dict[str, Path]:
    """Write the sound files that damaged ones are made of; "vq" is the autoencoder."""
    models = {
        "edge": _edge(),
        "folded": _student(14),
        "whole": _student(None),
        "vq": _autoencoder(),
    }
    for name, model in models.items():
        write_packed(folder / name, model)
    return {name: folder / name for name in models}


def _run(model: PackedModel, first_stage: Path) -> None:
    """Enlarge a few pixels with the native engine."""
    autoencoder = None if model.family == "edge" else first_stage
    sampling = SamplingSettings(steps=1)
    backend = open_packed(model, _isa(model.name), autoencoder=autoencoder, sampling=sampling)
    if getattr(backend, "multiple", 1) <= _LARGEST_SIDE:
        lq = np.random.default_rng(0).random((5, 9, 3), np.float32)
        backend.restore(lq, row=0, column=0, seed=0)


def _run_autoencoder(path: Path) -> None:
    """Bring a few pixels into the latent and back."""
    autoencoder = open_first_stage(path, _isa(path.name))
    side = 2 * autoencoder.scale
    if side <= _LARGEST_SIDE:
        size = (1, autoencoder.in_channels, side, side)
        photo = np.random.default_rng(0).random(size, np.float32)
        autoencoder.decode(autoencoder.encode(photo))


def _isa(name: str) -> str:
    """An instruction set that the name picks, so that a file runs on the same one every time."""
    isas = instruction_sets()
    return isas[zlib.crc32(name.encode("utf-8", "replace")) % len(isas)]


def _edge() -> PackedModel:
    """A packed model of the edge family, of random weights."""
    torch.manual_seed(11)
    settings = EdgeSettings(channels=16, blocks=2, scale=2)
    method = BinarizeSettings(
        rank=2, sign_of_zero=1, keep_float_conv=(KeepFloatRule(keywords=("first", "last")),)
    )
    return pack_network(
        binarize(EdgeNet(**asdict(settings)), method),
        name="edge",
        family="edge",
        network=asdict(settings),
        binarize_settings=method,
        diffusion={"kappa": 0.5, "predict_type": "residual"},
        license_name="CC0-1.0",
    )


def _student(step: int | None) -> PackedModel:
    """A packed student of the paper family, of random weights, with its time step folded or not."""
    torch.manual_seed(11)
    settings = UNetSettings(
        image_size=8,
        model_channels=32,
        channel_mult=(1, 2),
        num_res_blocks=(1, 1),
        attention_resolutions=(8,),
        swin_embed_dim=32,
        num_head_channels=16,
        window_size=4,
        mlp_ratio=2.0,
    )
    rule = KeepFloatRule(keywords=("input_blocks.0.0", "out.2"))
    method = BinarizeSettings(rank=2, keep_float_conv=(rule,))
    return pack_network(
        binarize(build_unet(settings), method),
        name="tiny",
        family="swin",
        network=asdict(settings),
        binarize_settings=method,
        diffusion=asdict(DiffusionSettings()),
        license_name="CC0-1.0",
        step=step,
    )


def _autoencoder() -> PackedModel:
    """A packed autoencoder that suits the students, of random weights."""
    torch.manual_seed(11)
    settings = AutoencoderSettings(channels=32, channel_mult=(1, 1), num_res_blocks=1, n_embed=16)
    state = {
        name: array.numpy() for name, array in build_autoencoder(settings).state_dict().items()
    }
    return pack_autoencoder(state, settings, name="vq", license_name="CC0-1.0")
