"""The packed file: what it holds, how it is written, and every check before it is believed.

`docs/packed-format.md` specifies it in prose. In short: a safetensors file whose metadata has one
entry `bimacosr`, a JSON object; the signs of 1-bit weights are bits of little-endian 64-bit
words, everything else is float16. numpy reads it; nothing in it is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from bimacosr.errors import ModelError
from bimacosr.io.atomic import atomic_file

__all__ = [
    "SCHEMA",
    "Array",
    "PackedModel",
    "pack_signs",
    "read_packed",
    "unpack_signs",
    "write_packed",
]

SCHEMA = 1
"""Version of the format; a file with a higher one is refused."""

_ENTRY = "bimacosr"
_MAX_BYTES = 1 << 30
_MAX_NOISE = 1000.0
_WORD = 64

Array = npt.NDArray[Any]
"""What a packed model holds: float16, uint16 or uint64."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedModel:
    """A packed model in memory."""

    name: str
    """What the model is called."""

    family: str
    """Which network it is: a key of `bimacosr.pack.modules.FAMILIES`."""

    network: dict[str, Any]
    """Settings of the network, such as those of `EdgeSettings`."""

    binarize: dict[str, Any]
    """Method and branches, the fields of `BinarizeSettings` that the run needs."""

    diffusion: dict[str, Any]
    """Chain that the model was trained on: fields of `DiffusionSettings`."""

    license: str
    """Licence of the weights, as an SPDX identifier."""

    tensors: dict[str, Array] = field(repr=False)
    """Arrays by name; read-only and memory-mapped when they come from a file."""

    extra: dict[str, Any] = field(default_factory=dict)
    """Facts for people: training, measured quality."""


def pack_signs(weight: Array) -> npt.NDArray[np.uint64]:
    """Signs of a weight as bits: 1 for positive.

    Args:
        weight: Cout x Cin or Cout x Cin x kh x kw; no entry is 0.

    Returns:
        Cout x taps x ceil(Cin / 64) words; bit i of word j is input channel 64 j + i, unused
        bits are 0. Taps go row by row.

    Raises:
        ModelError: an entry is 0 or NaN: it has no sign that one bit could hold.
    """
    if not np.all(np.abs(weight) > 0):
        raise ModelError("a 1-bit weight is 0 or NaN; such a layer cannot be packed into bits")
    c_out, c_in = weight.shape[:2]
    by_tap = weight.reshape(c_out, c_in, -1).transpose(0, 2, 1) > 0
    padded = np.pad(by_tap, ((0, 0), (0, 0), (0, -c_in % _WORD)))
    octets = np.ascontiguousarray(np.packbits(padded, axis=-1, bitorder="little"))
    return octets.view("<u8").astype(np.uint64)


def unpack_signs(words: npt.NDArray[np.uint64], c_in: int) -> npt.NDArray[np.float32]:
    """The signs -1 and +1 as Cout x Cin x taps; the inverse of `pack_signs`."""
    raw = np.ascontiguousarray(words.astype("<u8")).view(np.uint8)
    bits = np.unpackbits(raw, axis=-1, bitorder="little")[..., :c_in]
    signs: npt.NDArray[np.float32] = bits.transpose(0, 2, 1).astype(np.float32) * 2 - 1
    return signs


def write_packed(path: Path, model: PackedModel) -> None:
    """Write `model` to `path`, whole or not at all.

    Raises:
        WriteError: the file cannot be written.
    """
    header = {
        "schema": SCHEMA,
        "name": model.name,
        "family": model.family,
        "network": model.network,
        "binarize": model.binarize,
        "diffusion": model.diffusion,
        "license": model.license,
        "extra": model.extra,
        "sha256": _digest(model.tensors),
    }
    tensors = {name: np.ascontiguousarray(array) for name, array in sorted(model.tensors.items())}
    with atomic_file(path) as file:
        file.write(save(tensors, metadata={_ENTRY: json.dumps(header, sort_keys=True)}))


def read_packed(path: Path) -> PackedModel:
    """Read and check a packed model.

    Raises:
        ModelError: the file is missing, damaged, no packed model, or of a newer schema.
    """
    try:
        with path.open("rb") as file:  # says why it cannot be read; safetensors would not
            size = os.fstat(file.fileno()).st_size
        if size > _MAX_BYTES:
            raise ModelError(f"{path} has {size} bytes; a packed model has at most {_MAX_BYTES}")
        with safe_open(path, framework="numpy") as file:
            header = _check_header(path, file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise ModelError(f"the model {path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise ModelError(
            f"{path} is damaged or no packed model ({error}); get the file again"
        ) from error
    if header["sha256"] != _digest(tensors):
        raise ModelError(f"{path} is damaged (its checksum differs); get the file again")
    fields = ("name", "family", "network", "binarize", "diffusion", "license", "extra")
    return PackedModel(**{key: header[key] for key in fields}, tensors=tensors)


def _check_header(path: Path, metadata: Mapping[str, str] | None) -> dict[str, Any]:
    """The JSON header, with the type of each field checked."""
    if not metadata or _ENTRY not in metadata:
        raise ModelError(f"{path} is a safetensors file but no packed bimacosr model")
    try:
        header = json.loads(metadata[_ENTRY])
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: its header is not JSON ({error})") from error
    schema = header.get("schema") if isinstance(header, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise ModelError(
            f"{path} has packed format {schema}, this version reads up to {SCHEMA}; "
            "update bimacosr (pip install -U bimacosr)"
        )
    kinds = {
        "schema": int,
        "name": str,
        "family": str,
        "network": dict,
        "binarize": dict,
        "diffusion": dict,
        "license": str,
        "extra": dict,
        "sha256": str,
    }
    wrong = [
        key
        for key, kind in kinds.items()
        if not isinstance(header, dict) or not isinstance(header.get(key), kind)
    ]
    if wrong:
        raise ModelError(f"{path} is damaged: its header lacks {', '.join(wrong)}")
    checked: dict[str, Any] = header
    return checked


def _digest(tensors: Mapping[str, Array]) -> str:
    """SHA-256 over names, types, shapes and bytes of all tensors, in the order of names."""
    digest = hashlib.sha256()
    for name, array in sorted(tensors.items()):
        digest.update(f"{name}:{array.dtype.str}:{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
