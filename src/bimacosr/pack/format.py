"""The packed file: what it holds, how it is written, and every check before it is believed.

`docs/packed-format.md` specifies it in prose. In short: a safetensors file whose metadata has one
entry `bimacosr`, a JSON object; the signs of 1-bit weights are bits of little-endian 64-bit
words, nearly everything else is float16. numpy reads it; nothing in it is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from bimacosr.errors import ModelError
from bimacosr.io.atomic import atomic_file
from bimacosr.pack.header import ENTRY, check_header

__all__ = [
    "SCHEMA",
    "Array",
    "PackedModel",
    "Place",
    "is_packed",
    "locate_arrays",
    "pack_signs",
    "read_packed",
    "unpack_signs",
    "write_packed",
]

SCHEMA = 1
"""Version of the format; a file with a higher one is refused."""

_MAX_BYTES = 1 << 30
_MAX_HEADER = 1 << 23  # the official student's has about a quarter of a million
_WORD = 64
_KINDS = {"F16": "<f2", "F32": "<f4", "U16": "<u2", "U32": "<u4", "U64": "<u8"}

Array = npt.NDArray[Any]
"""What a packed model holds: float16, uint16, uint32 or uint64; an autoencoder float32."""


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
    """Method, branches and rules: the fields of `BinarizeSettings`."""

    diffusion: dict[str, Any]
    """Chain that the model was trained on: fields of `DiffusionSettings`."""

    step: int | None = None
    """The only time step that the network knows: its embedding is folded into constants. None: the
    network has an embedding, or none at all."""

    autoencoder: dict[str, Any] = field(default_factory=dict)
    """First stage of a network that works in its latent: `settings`, the fields of
    `AutoencoderSettings`, and `release`, a name of `bimacosr.models.releases` or None."""

    one_bit: dict[str, list[int]] = field(default_factory=dict)
    """Shape of the weight of each 1-bit layer; files of before this was stored have none."""

    license: str
    """Licence of the weights, as an SPDX identifier."""

    tensors: dict[str, Array] = field(repr=False)
    """Arrays by name; read-only and memory-mapped when they come from a file."""

    extra: dict[str, Any] = field(default_factory=dict)
    """Facts for people: training, measured quality."""

    mapping: mmap.mmap | None = field(default=None, repr=False, compare=False)
    """The mapped file that `tensors` are views of."""

    def release_pages(self) -> None:
        """Take the mapped file out of memory; who reads `tensors` again brings it back.

        Systems other than Linux do that by themselves when memory is short.
        """
        if self.mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.mapping.madvise(mmap.MADV_DONTNEED)


class Place(NamedTuple):
    """Where an array lies in its file."""

    start: int
    """Its first byte."""

    shape: tuple[int, ...]
    """Its shape, in C order."""


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
        "step": model.step,
        "autoencoder": model.autoencoder,
        "one_bit": model.one_bit,
        "license": model.license,
        "extra": model.extra,
        "sha256": _digest(model.tensors),
    }
    tensors = {name: np.ascontiguousarray(array) for name, array in sorted(model.tensors.items())}
    with atomic_file(path) as file:
        file.write(save(tensors, metadata={ENTRY: json.dumps(header, sort_keys=True)}))


def read_packed(path: Path) -> PackedModel:
    """Read and check a packed model.

    Its arrays are views of the mapped file: nothing is copied, and nothing may be written. The file
    must not be cut short while the model lives; replacing it by another one does no harm.

    Raises:
        ModelError: the file is missing, damaged, no packed model, or of a newer schema.
    """
    try:
        with path.open("rb") as file:  # says why it cannot be read; safetensors would not
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
        if size > _MAX_BYTES:
            raise ModelError(f"{path} has {size} bytes; a packed model has at most {_MAX_BYTES}")
        if length > _MAX_HEADER:
            raise ModelError(
                f"{path} is damaged or no packed model (its header would have {length} bytes); get"
                " the file again"
            )
        with safe_open(path, framework="numpy") as file:  # sizes and offsets, no hole, no overlap
            header = check_header(path, file.metadata(), SCHEMA)
        mapping = _map(path)
        tensors = _map_arrays(path, mapping, length)
    except OSError as error:
        raise ModelError(f"the model {path} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise ModelError(
            f"{path} is damaged or no packed model ({error}); get the file again"
        ) from error
    if header.pop("sha256") != _digest(tensors):
        raise ModelError(f"{path} is damaged (its checksum differs); get the file again")
    model = PackedModel(**header, tensors=tensors, mapping=mapping)
    model.release_pages()
    return model


def is_packed(path: Path) -> bool:
    """Whether a file says of itself that it is a packed model; it may still be damaged."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            start = file.read(length) if length <= _MAX_HEADER else b""
        metadata = json.loads(start)["__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return isinstance(metadata, dict) and ENTRY in metadata


def locate_arrays(path: Path) -> dict[str, Place]:
    """Where the arrays of a file lie that `read_packed` found sound, for who reads them itself.

    Raises:
        ModelError: the file is not that any more.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            layout = json.loads(file.read(min(length, _MAX_HEADER)))
        layout.pop("__metadata__", None)
        return {
            name: Place(8 + length + entry["data_offsets"][0], tuple(entry["shape"]))
            for name, entry in layout.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} was changed while it was read; try again") from error


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _map_arrays(path: Path, mapping: mmap.mmap, length: int) -> dict[str, Array]:
    """The arrays behind a header of `length` bytes, which safetensors found sound."""
    content = np.frombuffer(mapping, np.uint8)
    data = content[8 + length :]
    tensors = {}
    try:
        layout = json.loads(content[8 : 8 + length].tobytes())
        layout.pop("__metadata__", None)
        for name, entry in layout.items():
            kind = _KINDS.get(entry["dtype"])
            if kind is None:
                raise ModelError(
                    f"{path} is damaged or made by other hands: its array {name} is of type"
                    f" {entry['dtype']}, not {', '.join(_KINDS)}"
                )
            start, end = entry["data_offsets"]
            array = data[start:end].view(kind).reshape(entry["shape"])
            tensors[name] = np.require(array, requirements="A")  # foreign writers need not align
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is damaged ({error}); get the file again") from error
    return tensors


def _digest(tensors: Mapping[str, Array]) -> str:
    """SHA-256 over names, types, shapes and bytes of all tensors, in the order of names."""
    digest = hashlib.sha256()
    for name, array in sorted(tensors.items()):
        digest.update(f"{name}:{array.dtype.str}:{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
