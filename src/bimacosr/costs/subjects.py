"""What can be counted: models of the catalogue, files, and the paper's networks without weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from bimacosr.binarize.convert import binarize
from bimacosr.binarize.registry import METHODS
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.networks import realsrx4_unet
from bimacosr.errors import ModelError, OptionError
from bimacosr.models.catalogue import MODELS, find_model
from bimacosr.networks.edge import EdgeNet
from bimacosr.networks.unet import UNetModelSwin, build_unet
from bimacosr.pack.format import read_packed
from bimacosr.pack.modules import FAMILIES, rebuild_network

__all__ = ["PAPER_NETWORKS", "Subject", "inputs_of", "open_subject"]

_KEPT = (KeepFloatRule(keywords=("input_blocks.0.0", "out.2")),)

PAPER_NETWORKS: dict[str, BinarizeSettings | None] = {
    "resshift": None,
    "sinsr": None,
    **{
        f"{method}-student": BinarizeSettings(method=method, rank=8, keep_float_conv=_KEPT)
        for method in METHODS
    },
}
"""The paper's networks, by name: how the realsrx4 UNet is binarized, or None for the float one.

ResShift and SinSR are one network with other weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A network to count, on the meta device: it has shapes and no numbers."""

    name: str
    """What the user called it."""

    network: nn.Module
    """The network."""

    original: nn.Module
    """The float network it was made of; `network` itself if it is float."""

    file_bytes: int | None = None
    """Size of its file, if it has one."""


def open_subject(model: str) -> Subject:
    """Find what the user called `model` and put its network on the meta device.

    Args:
        model: A model of the catalogue, one of `PAPER_NETWORKS`, a packed file, or a checkpoint
            of a UNet (float or student).

    Raises:
        ModelError: there is no such model, or its file is damaged.
    """
    if model in PAPER_NETWORKS:
        return _paper_network(model)
    path = _path_of(model)
    return _packed(model, path) if _is_packed(path) else _checkpoint(model, path)


def inputs_of(network: nn.Module, height: int, width: int) -> tuple[Tensor, ...]:
    """Arguments for one run of `network` on one picture, without numbers.

    Args:
        network: A network of `open_subject`.
        height: Height of the latent, which is that of the low-quality picture.
        width: Width of it.

    Raises:
        OptionError: a side is below 1.
    """
    if min(height, width) < 1:
        raise OptionError(f"the size is {height}x{width}; both sides must be at least 1")
    if isinstance(network, UNetModelSwin):
        channels = network.in_channels - 3
    elif isinstance(network, EdgeNet):
        channels = network.first.in_channels - 3
    else:
        raise ModelError(f"a {type(network).__name__} cannot be counted; give a denoiser")
    with torch.device("meta"):
        latent, lq = torch.empty(1, channels, height, width), torch.empty(1, 3, height, width)
        return latent, torch.empty(1, dtype=torch.int64), lq


def _paper_network(name: str) -> Subject:
    settings = PAPER_NETWORKS[name]
    with torch.device("meta"):
        original = build_unet(realsrx4_unet())
        network = original if settings is None else binarize(original, settings)
    return Subject(name=name, network=network, original=original)


def _path_of(model: str) -> Path:
    try:
        return find_model(model)
    except ModelError as error:
        if error.__cause__ is not None:  # it is there, and the system refuses it
            raise
        names = ", ".join([*MODELS, *PAPER_NETWORKS])
        raise ModelError(
            f"there is no model {model!r}: give one of {names}, a packed model or a checkpoint file"
        ) from error


def _packed(name: str, path: Path) -> Subject:
    model = read_packed(path)
    network = rebuild_network(model).to("meta")
    with torch.device("meta"):
        original = FAMILIES[model.family](model.network)
    size = path.stat().st_size
    return Subject(name=name, network=network, original=original, file_bytes=size)


def _checkpoint(name: str, path: Path) -> Subject:
    # reading foreign checkpoints is a room of its own, not loaded for our own models
    from bimacosr.checkpoints.load import load_unet

    loaded = load_unet(path)
    network = loaded.network.to("meta")
    original = network
    if loaded.binarize is not None:
        with torch.device("meta"):
            original = build_unet(loaded.settings)
    size = path.stat().st_size
    return Subject(name=name, network=network, original=original, file_bytes=size)


def _is_packed(path: Path) -> bool:
    """Whether a file is one of our packed models; who reads it says what is wrong with it."""
    if path.suffix != ".safetensors":
        return False
    try:
        with safe_open(path, framework="numpy") as file:
            return "bimacosr" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False
