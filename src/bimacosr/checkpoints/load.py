"""From a checkpoint file to a network that runs: built on no memory, filled, checked key by key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bimacosr.binarize.branches import SparseBranch
from bimacosr.binarize.convert import binarize as binarized
from bimacosr.checkpoints.detect import (
    detect_autoencoder,
    detect_binarization,
    detect_unet_settings,
    kind_of,
    methods_of,
)
from bimacosr.checkpoints.keys import COMPUTED, has_no_effect
from bimacosr.checkpoints.read import read_state
from bimacosr.config.binarize import BinarizeSettings
from bimacosr.config.networks import AutoencoderSettings, UNetSettings
from bimacosr.errors import ModelError
from bimacosr.networks import swin
from bimacosr.networks.unet import build_unet
from bimacosr.networks.vq import VQAutoencoder, build_autoencoder

__all__ = ["LoadedUNet", "assemble_unet", "load_autoencoder", "load_unet"]

_SHOWN = 3
"""How many of the keys that differ an error names."""


@dataclass(frozen=True)
class LoadedUNet:
    """A denoiser out of a checkpoint, with what it is."""

    network: nn.Module
    """The network in evaluation mode, float32, on the CPU; its forward is `UNetModelSwin`'s."""

    settings: UNetSettings
    """Its shape."""

    binarize: BinarizeSettings | None
    """How its layers became 1-bit; None for a float network."""


def load_unet(
    path: Path,
    *,
    settings: UNetSettings | None = None,
    binarize: BinarizeSettings | None = None,
) -> LoadedUNet:
    """The denoiser in a checkpoint: ResShift's, SinSR's, or a student of any method.

    Args:
        path: A file that `read_state` reads.
        settings: Its shape; None finds it in the checkpoint (`detect_unet` says what cannot be
            found).
        binarize: Its binarization; None finds it. Students of XNOR, HORQ and ReSTE need it, since
            their keys are those of a float network, as do those of ReActNet and BBCU.

    Raises:
        ModelError: the file cannot be read, is something else, or does not fit the settings.
        OptionError: the settings contradict one another.
    """
    state = read_state(path)
    try:
        return assemble_unet(state, settings=settings, binarize=binarize)
    except ModelError as error:
        raise ModelError(f"{path} cannot be loaded: {error}") from error


def assemble_unet(
    state: Mapping[str, Tensor],
    *,
    settings: UNetSettings | None = None,
    binarize: BinarizeSettings | None = None,
) -> LoadedUNet:
    """The denoiser with this state, whose tensors become its parameters; see `load_unet`."""
    if kind_of(state) != "unet":
        raise ModelError("it is an autoencoder, not a denoiser; give it as the autoencoder")
    told = settings, binarize
    settings = settings or detect_unet_settings(state)
    binarize = binarize or detect_binarization(state)
    with torch.device("meta"):  # shapes only: no memory, no random numbers
        network: nn.Module = build_unet(settings)
        if binarize is not None:
            network = binarized(network, binarize)
    method = binarize.method if binarize else None
    expected = network.state_dict()
    differing = _differences(expected, state, method)
    if differing:
        raise ModelError(_mismatch(differing, _contradictions(state, *told)))
    _fill(network, expected, state)
    _check_sparse(network)
    return LoadedUNet(network.eval(), settings, binarize)


def load_autoencoder(path: Path, *, settings: AutoencoderSettings | None = None) -> VQAutoencoder:
    """The VQ autoencoder in a checkpoint, in evaluation mode, float32, on the CPU.

    Args:
        path: A file that `read_state` reads.
        settings: Its shape; None finds it in the checkpoint.

    Raises:
        ModelError: the file cannot be read, is something else, or does not fit the settings.
    """
    state = read_state(path)
    try:
        if kind_of(state) != "autoencoder":
            raise ModelError("it is a denoiser, not an autoencoder; give it as the weights")
        found = detect_autoencoder(state)
        if settings is not None and settings.level_res_blocks is not None:
            raise ModelError(
                "the settings give each level another number of residual blocks; bimacosr runs"
                " autoencoders with equally many at each level"
            )
        with torch.device("meta"):
            network = build_autoencoder(settings or found)
        expected = network.state_dict()
        differing = _differences(expected, state, None)
        if differing:
            raise ModelError(_mismatch(differing, _unequal(found, settings or found)))
    except ModelError as error:
        raise ModelError(f"{path} cannot be loaded: {error}") from error
    _fill(network, expected, state)
    return network.eval()


def _differences(
    expected: Mapping[str, Tensor], state: Mapping[str, Tensor], method: str | None
) -> list[str]:
    """What differs, a phrase for each key, in the order of the network and then the checkpoint."""
    found = []
    for key, tensor in expected.items():
        if key not in state:
            if not has_no_effect(key, method):
                found.append(f"{key} is missing")
        elif state[key].shape != tensor.shape:
            shapes = tuple(state[key].shape), tuple(tensor.shape)
            found.append(f"{key} is {shapes[0]} instead of {shapes[1]}")
        elif state[key].is_floating_point() < tensor.is_floating_point():
            found.append(f"{key} holds whole numbers")
    return found + [f"{key} is too much" for key in state if key not in expected]


def _mismatch(differing: list[str], suggestions: list[str]) -> str:
    shown = "; ".join(differing[:_SHOWN])
    rest = len(differing) - _SHOWN
    if rest > 0:
        shown += f"; and {rest} more"
    text = f"its keys do not fit the network ({shown})"
    return f"{text}: {'; '.join(suggestions)}" if suggestions else text


def _contradictions(
    state: Mapping[str, Tensor], settings: UNetSettings | None, binarize: BinarizeSettings | None
) -> list[str]:
    """What the checkpoint says otherwise than the settings that were given."""
    found: list[str] = []
    try:
        if settings is not None:
            found += _unequal(detect_unet_settings(state), settings)
        if binarize is None:
            return found
        fitting = methods_of(state)
        if binarize.method not in fitting:
            names = [name or "a float network" for name in fitting]
            return [
                *found,
                f"the checkpoint has the keys of {' or '.join(names)}, the config says"
                f" {binarize.method}",
            ]
        seen = detect_binarization(state, binarize.method)
        return found + (_unequal(seen, binarize) if seen else [])
    except ModelError as error:  # the checkpoint is neither this network nor another one
        return [*found, str(error)]


def _unequal(found: Any, told: Any) -> list[str]:
    """For each setting that differs: what the checkpoint has and what the config says."""
    pairs = [(f.name, getattr(found, f.name), getattr(told, f.name)) for f in fields(found)]
    return [
        f"the checkpoint has {name} {_brief(theirs)}, the config says {_brief(ours)}"
        for name, theirs, ours in pairs
        if theirs != ours
    ]


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:120]}..."


def _fill(network: nn.Module, expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Make the tensors of `state` the network's own; compute or zero what it need not have."""
    full = {
        key: state[key] if key in state else torch.zeros(tensor.shape)
        for key, tensor in expected.items()
        if not key.endswith(COMPUTED)
    }
    network.load_state_dict(full, strict=False, assign=True)
    for block in network.modules():
        if isinstance(block, swin.SwinBlock):
            block.attn.relative_position_index = swin.relative_position_index(block.window)
            if block.shift:
                mask = block.get_buffer("attn_mask")
                side = round(mask.shape[0] ** 0.5) * block.window
                block.attn_mask = swin.shift_mask(side, side, block.window, block.shift)


def _check_sparse(network: nn.Module) -> None:
    for name, branch in network.named_modules():
        if isinstance(branch, SparseBranch):
            rows, columns = branch.indices_float.detach().round()
            inside = rows.min() >= 0 and columns.min() >= 0
            inside = inside and rows.max() < branch.shape[0] and columns.max() < branch.shape[1]
            if not inside:
                raise ModelError(
                    f"{name}.indices_float points outside of the layer's {branch.shape} matrix"
                )
