"""From the float numbers of a trained network to what a packed file holds of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bimacosr.errors import ModelError
from bimacosr.pack.format import Array, pack_signs

__all__ = ["half", "pack_weight"]

Floats = npt.NDArray[np.float32]


def pack_weight(name: str, weight: Floats, *, two_terms: bool) -> dict[str, Array]:
    """The arrays of the 1-bit layer `name`: signs and scales, and where its exact zeros are.

    Args:
        name: The layer's name, without ".weight".
        weight: Cout x Cin, or Cout x Cin x kh x kw.
        two_terms: Store a second term of what the first leaves over (HORQ). Where nothing is left
            over, about one weight in 10^7 and never on purpose, its sign is stored as +.

    Raises:
        ModelError: an entry is NaN, a scale does not fit float16, or an entry is 0 though there is
            a second term.
    """
    if np.isnan(weight).any():
        raise ModelError(f"the weight of the 1-bit layer {name} holds NaN; the training failed")
    zeros = np.flatnonzero(weight == 0)
    if two_terms and zeros.size:
        raise ModelError(
            f"{zeros.size} weights of the 1-bit layer {name} are exactly 0, which two terms of one"
            " bit each cannot hold; train it a step further, or keep the layer in float"
        )
    scale = _mean_magnitude(weight)
    found: dict[str, Array] = {
        f"{name}.signs": pack_signs(np.where(weight == 0, np.float32(-1), weight)),
        f"{name}.scale": _scale(scale, name),
    }
    if zeros.size:
        found[f"{name}.zeros"] = zeros.astype(np.uint32)
    if two_terms:
        rest = weight - scale.reshape(-1, *[1] * (weight.ndim - 1)) * np.sign(weight)
        found[f"{name}.second_signs"] = pack_signs(np.where(rest == 0, np.float32(1), rest))
        found[f"{name}.second_scale"] = _scale(_mean_magnitude(rest), name)
    return found


def half(array: npt.NDArray[Any], key: str) -> Array:
    """`array` in float16.

    Raises:
        ModelError: it holds a number that is too large, or NaN.
    """
    if not np.all(np.abs(array) < np.finfo(np.float16).max):
        raise ModelError(f"{key} holds a number that does not fit float16; it cannot be packed")
    return array.astype(np.float16)


def _mean_magnitude(weight: Floats) -> Floats:
    mean: Floats = np.abs(weight).mean(tuple(range(1, weight.ndim)))
    return mean


def _scale(scale: Floats, name: str) -> Array:
    stored = half(scale, f"{name}.weight")
    if (stored[scale > 0] == 0).any():
        raise ModelError(
            f"the weights of the 1-bit layer {name} are too small for float16; it cannot be packed"
        )
    return stored
