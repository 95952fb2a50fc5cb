"""Whether a packed file is sound in every part, and the facts of one that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimacosr.config.networks import AutoencoderSettings
from bimacosr.errors import ModelError
from bimacosr.pack.autoencoder import FAMILY, check_autoencoder
from bimacosr.pack.format import PackedModel, read_packed
from bimacosr.pack.modules import check_network
from bimacosr.pack.settings import restore_diffusion, restore_settings

__all__ = ["PackedFacts", "bytes_by_kind", "verify_packed"]

_KINDS = {
    "signs": (".signs", ".second_signs"),
    "scales": (".scale", ".second_scale"),
    "low rank": (".lora.A.weight", ".lora.B.weight"),
    "sparse": (".skip_connection.indices", ".skip_connection.values"),
    "time step": (".emb_layers.modulation",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedFacts:
    """What a sound packed file holds."""

    model: PackedModel
    """The model itself."""

    size: int
    """Bytes of the file."""

    parts: dict[str, int]
    """Bytes by kind of array, and "names", the header; they add up to `size`."""

    layers: int
    """Number of 1-bit layers."""

    one_bit_weights: int
    """Number of their weights."""


def verify_packed(path: Path) -> PackedFacts:
    """Read all of a packed file, and make its network without keeping it.

    Raises:
        ModelError: it cannot be read, or any part of it cannot be used.
    """
    model = read_packed(path)
    if model.family == FAMILY:
        check_autoencoder(model)
        shapes = {}
    else:
        shapes = check_network(model)
        try:
            _check_run(model)
        except ValueError as error:
            raise ModelError(
                f"the model {model.name!r} is damaged: its settings cannot be used ({error})"
            ) from error
    size, parts = path.stat().st_size, bytes_by_kind(model)
    return PackedFacts(
        model=model,
        size=size,
        parts=parts | {"names": size - sum(parts.values())},
        layers=len(shapes),
        one_bit_weights=sum(math.prod(shape) for shape in shapes.values()),
    )


def bytes_by_kind(model: PackedModel) -> dict[str, int]:
    """Bytes of the arrays, by kind; "other" are biases, norms, RPReLUs and float layers.

    Of an autoencoder, all arrays are "other".
    """
    found = dict.fromkeys([*_KINDS, "other"], 0)
    for name, array in model.tensors.items():
        kind = next((kind for kind, ends in _KINDS.items() if name.endswith(ends)), "other")
        found[kind] += array.nbytes
    return found


def _check_run(model: PackedModel) -> None:
    """Raise ValueError if the chain, the step or the first stage is not what one can run."""
    diffusion = restore_diffusion(model.diffusion)
    if model.step is not None and model.step >= diffusion.steps:
        raise ValueError(f"the time step is {model.step}, but the chain has {diffusion.steps}")
    first_stage: Mapping[str, Any] = model.autoencoder
    if not first_stage:
        return
    release = first_stage.get("release")
    if release is not None and not isinstance(release, str):
        raise ValueError("the autoencoder's release is no name")
    settings = first_stage.get("settings")
    if not isinstance(settings, dict):
        raise ValueError("the autoencoder has no settings")
    restore_settings(AutoencoderSettings, settings, complete=True)
