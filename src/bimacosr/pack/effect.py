"""Parameters of 1-bit networks that no forward pass reads; packed files leave them out."""

from __future__ import annotations

from torch import nn

from bimacosr.binarize.methods.bimacosr import BiMaCoSRConv2d

__all__ = ["has_no_effect"]

_NO_EFFECT = {
    "bimacosr": ("move0.bias", "channel_threshold"),
    "bidm": ("fliter_k.weight",),  # the first forward overwrites it
}
_BRANCHES = (".skip_connection.", ".lora.")


def has_no_effect(student: nn.Module, key: str, method: str) -> bool:
    """Whether the state-dict entry `key` of a network binarized by `method` changes nothing.

    Such are also both branches of a BiMaCoSR layer of stride 2, which has a pooled shortcut.
    """
    if key.endswith(_NO_EFFECT.get(method, ())):
        return True
    for branch in _BRANCHES:
        owner, found, _ = key.rpartition(branch)
        if found:
            layer = student.get_submodule(owner)
            if isinstance(layer, BiMaCoSRConv2d) and layer.stride[0] > 1:
                return True
    return False
