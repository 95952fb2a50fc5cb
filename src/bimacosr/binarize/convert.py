"""Turn a float network into a 1-bit one: which layers are replaced, and by what."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

from bimacosr.binarize.registry import find_method
from bimacosr.config.binarize import BinarizeSettings

__all__ = ["binarize", "layers_to_replace"]

Network = TypeVar("Network", bound=nn.Module)


def layers_to_replace(network: nn.Module, settings: BinarizeSettings) -> list[str]:
    """Names of the layers that `settings` binarizes, in the order of the network's modules."""
    names = []
    for name, layer in network.named_modules():
        parameters = sum(p.numel() for p in layer.parameters())
        if isinstance(layer, nn.Conv2d):
            rules = settings.keep_float_conv
        elif isinstance(layer, nn.Linear) and settings.linear:
            rules = settings.keep_float_linear
        else:
            continue
        if not any(rule.matches(name, parameters) for rule in rules):
            names.append(name)
    return names


def binarize(network: Network, settings: BinarizeSettings) -> Network:
    """A copy of `network` in which the layers chosen by `settings` are 1-bit.

    Each new layer is initialised from the float layer it replaces. `network` stays as it is.

    Raises:
        OptionError: the method is not known, or a layer does not suit it.
    """
    method = find_method(settings.method)
    student = copy.deepcopy(network)
    for name in layers_to_replace(network, settings):
        parent_name, _, child = name.rpartition(".")
        layer = student.get_submodule(name)
        if isinstance(layer, nn.Conv2d):
            replacement = method.conv(layer, settings)
        else:
            assert isinstance(layer, nn.Linear)
            replacement = method.linear(layer, settings)
        setattr(student.get_submodule(parent_name), child, replacement)
    return student
