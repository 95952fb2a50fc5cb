"""What the keys of official state dicts mean: prefixes, 1-bit layers, and keys without effect.

This is the one place that says which keys may be missing. Every other difference between a
checkpoint and its network is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from bimacosr.errors import ModelError

__all__ = ["COMPUTED", "binary_layers", "float_layers", "has_no_effect", "strip_prefixes"]

COMPUTED = (".attn_mask", ".relative_position_index")
"""Endings of buffers that follow from the settings. The official EMA averages the masks, and no
code reads them; the index is the same for every network with that window."""

_NO_EFFECT = {
    "bimacosr": (".move0.bias", ".channel_threshold"),  # parameters that no forward reads
    "bidm": (".fliter_k.weight",),  # the first forward overwrites it
}

_MARKS = (".move0.bias", ".channel_threshold")
_DATA_PARALLEL, _COMPILED = "module.", "_orig_mod."


def has_no_effect(key: str, method: str | None) -> bool:
    """Whether a network binarized by `method` (None: float) computes the same without `key`."""
    return key.endswith(COMPUTED + _NO_EFFECT.get(method or "", ()))


def strip_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state without the prefixes of `DistributedDataParallel` and of `torch.compile`.

    All keys are looked at: officially the first one alone decides.

    Raises:
        ModelError: some keys have the prefix and others not, or two keys become one.
    """
    names = {key: key.replace(_COMPILED, "") for key in state}
    prefixed = [key for key in names if names[key].startswith(_DATA_PARALLEL)]
    if prefixed and len(prefixed) < len(names):
        bare = next(key for key in names if key not in set(prefixed))
        raise ModelError(
            f"the checkpoint mixes keys with and without 'module.' ({prefixed[0]} and {bare});"
            " it was put together from several networks"
        )
    stripped = {
        name.removeprefix(_DATA_PARALLEL) if prefixed else name: state[key]
        for key, name in names.items()
    }
    if len(stripped) < len(state):
        raise ModelError("the checkpoint holds two networks: keys are equal without '_orig_mod.'")
    return stripped


def binary_layers(keys: Iterable[str]) -> set[str]:
    """Names of the layers whose parameters show that they are 1-bit.

    XNOR, HORQ and ReSTE add no parameters: their layers are not seen.
    """
    return {key.removesuffix(mark) for key in keys for mark in _MARKS if key.endswith(mark)}


def float_layers(state: Mapping[str, Tensor]) -> list[str]:
    """Names of the convolutions and fully connected layers that show no 1-bit parameters."""
    binary = binary_layers(state)
    names = []
    for key, value in state.items():
        owner = key.removesuffix(".weight")
        if owner == key or value.ndim not in (2, 4) or owner in binary:
            continue
        parents = (owner[:i] for i, letter in enumerate(owner) if letter == ".")
        if not any(parent in binary for parent in parents):
            names.append(owner)
    return names
