"""What a binarization method is: how it makes a 1-bit layer out of a float one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from bimacosr.config.binarize import BinarizeSettings

__all__ = ["BinarizeMethod"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BinarizeMethod:
    """A record of one method; its file in `methods/` makes it, the registry lists it."""

    id: str
    """Lower-case name from the paper; also the name of the method's file."""

    conv: Callable[[nn.Conv2d, BinarizeSettings], nn.Module]
    """Makes the 1-bit layer of a float convolution: initialises it from the float weights."""

    linear: Callable[[nn.Linear, BinarizeSettings], nn.Module]
    """The same for a fully connected layer."""

    source: str
    """The paper."""
