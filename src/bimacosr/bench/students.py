"""The networks that benchmarks run, each as one file for all processes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.numpy import save_file

from bimacosr.checkpoints.load import load_unet
from bimacosr.config.networks import realsrx4_unet, vq_f4
from bimacosr.costs.subjects import open_subject
from bimacosr.errors import ModelError
from bimacosr.networks.vq import build_autoencoder

__all__ = ["OFFICIAL", "Student", "autoencoder_file", "student_file"]

OFFICIAL = "bimacosr-student"
"""The published student's shape, with random weights: speed does not ask what they are."""

_COMPUTED = ("relative_position_index", "attn_mask")
_INDICES = "skip_connection.indices_float"


class Student(NamedTuple):
    """What `student_file` makes."""

    weights: Path
    """State dict, .safetensors."""

    network: dict[str, Any]
    """`UNetSettings` as plain data."""


def student_file(model: str, folder: Path) -> Student:
    """Write a student's state dict into `folder`.

    Args:
        model: `OFFICIAL`, or a checkpoint of a student.
        folder: Where to; the official one takes 500 MB.

    Raises:
        ModelError: the checkpoint cannot be read, or is a float network.
    """
    target = folder / "student.safetensors"
    if model == OFFICIAL:
        shapes = open_subject(OFFICIAL).network.state_dict()
        random = np.random.default_rng(0)
        state = {
            key: random.normal(0, 0.05, tuple(tensor.shape)).astype(np.float32)
            for key, tensor in shapes.items()
            if not key.endswith((*_COMPUTED, _INDICES))
        }
        for key, tensor in shapes.items():
            if key.endswith(_INDICES):
                layer = shapes[key.replace(_INDICES, "weight")]
                state[key] = _spread(tensor.shape[1], *layer.shape[:2])
        network = asdict(realsrx4_unet())
    else:
        loaded = load_unet(Path(model))
        if loaded.binarize is None:
            raise ModelError(f"{model} is a float network; give a 1-bit student")
        state = {
            key: tensor.contiguous().numpy()
            for key, tensor in loaded.network.state_dict().items()
            if not key.endswith(_COMPUTED)
        }
        network = asdict(loaded.settings)
    save_file(state, target)
    return Student(target, network)


def autoencoder_file(folder: Path) -> Path:
    """Write the state dict of a VQ-f4 with random weights into `folder`, 220 MB."""
    torch.manual_seed(0)
    state = build_autoencoder(vq_f4()).state_dict()
    target = folder / "autoencoder.safetensors"
    save_file({key: tensor.contiguous().numpy() for key, tensor in state.items()}, target)
    return target


def _spread(entries: int, outputs: int, inputs: int) -> Any:
    """Rows and columns of so many different entries of a matrix, as even as may be."""
    number = np.arange(entries)
    columns = number + number // max(outputs, inputs)
    return np.stack([number % outputs, columns % inputs]).astype(np.float32)
