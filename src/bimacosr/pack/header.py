"""The JSON object in a packed file's metadata: parsed and checked member by member."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bimacosr.errors import ModelError

__all__ = ["ENTRY", "check_header"]

ENTRY = "bimacosr"
"""The one entry of the safetensors metadata."""

_MOST_STEPS = 10_000
"""As in `DiffusionSettings`."""

_REQUIRED = {
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


def check_header(path: Path, metadata: Mapping[str, str] | None, schema: int) -> dict[str, Any]:
    """The members of the header, each of its type; unknown ones are passed over.

    Args:
        path: The file, for messages.
        metadata: The safetensors metadata.
        schema: The highest schema that is understood.

    Returns:
        `sha256` and the fields of `PackedModel` but `tensors`; defaults for members that schema 1
        did not have from its beginning.

    Raises:
        ModelError: there is no header, it is damaged, or it is of a newer schema.
    """
    if not metadata or ENTRY not in metadata:
        raise ModelError(f"{path} is a safetensors file but no packed bimacosr model")
    try:
        header = json.loads(metadata[ENTRY], parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: its header is not JSON ({error})") from error
    found = header.get("schema") if isinstance(header, dict) else None
    if isinstance(found, int) and found > schema:
        raise ModelError(
            f"{path} has packed format {found}, this version reads up to {schema}; "
            "update bimacosr (pip install -U bimacosr)"
        )
    wrong = [
        key
        for key, kind in _REQUIRED.items()
        if not isinstance(header, dict) or type(header.get(key)) is not kind
    ]
    if wrong:
        raise ModelError(f"{path} is damaged: its header lacks {', '.join(wrong)}")
    if header["schema"] < 1:
        raise ModelError(f"{path} is damaged: there is no packed format {header['schema']}")
    members = {key: header[key] for key in _REQUIRED if key != "schema"}
    members |= _optional(path, header)
    return members


def _optional(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    """The members that a file need not have."""
    step = header.get("step")
    first_stage, one_bit = header.get("autoencoder", {}), header.get("one_bit", {})
    good = {
        "step": step is None or (type(step) is int and 0 <= step < _MOST_STEPS),
        "autoencoder": isinstance(first_stage, dict),
        "one_bit": isinstance(one_bit, dict) and all(map(_is_shape, one_bit.values())),
    }
    wrong = [key for key, is_good in good.items() if not is_good]
    if wrong:
        raise ModelError(f"{path} is damaged: its header's {', '.join(wrong)} cannot be used")
    return {"step": step, "autoencoder": first_stage, "one_bit": one_bit}


def _is_shape(value: Any) -> bool:
    """Whether a value is the shape of a fully connected layer or of a convolution."""
    return (
        isinstance(value, list)
        and len(value) in (2, 4)
        and all(type(size) is int and 0 < size < 1 << 20 for size in value)
    )


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number
