"""Settings of the binarization: which method, which branches, which layers stay float."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bimacosr.errors import OptionError

__all__ = ["BinarizeSettings", "KeepFloatRule"]


@dataclass(frozen=True, kw_only=True, slots=True)
class KeepFloatRule:
    """Keep a layer in float if its name holds one of the keywords and it is small enough."""

    keywords: tuple[str, ...]
    """Substrings of the layer's name inside its network, such as ``"input_blocks.0.0"``."""

    max_parameters: int = 200_000
    """Layers with more parameters than this are binarized whatever their name."""

    def matches(self, name: str, parameters: int) -> bool:
        """Whether the layer `name` with that many `parameters` stays float by this rule."""
        return parameters <= self.max_parameters and any(word in name for word in self.keywords)


@dataclass(frozen=True, kw_only=True, slots=True)
class BinarizeSettings:
    """How the layers of a network become 1-bit (BiMaCoSR, arXiv 2502.00333, section 3)."""

    method: str = "bimacosr"
    """Name of a method in `bimacosr.binarize.registry`. The branches are BiMaCoSR's alone."""

    low_rank: bool = True
    """Add the low-rank branch (LRMB) to each layer."""

    rank: int = 8
    """Rank of the low-rank branch, at least 1; a layer takes no more than its own rank."""

    sparse: bool = True
    """Add the sparse branch (SMB), which has 2 max(cin, cout) entries a layer."""

    sign_of_zero: Literal[0, 1] = 0
    """What sign(0) gives for activations: 0 as in the official code, or +1 (one bit in truth)."""

    sign_gradient: Literal["bireal", "bireal_relative"] = "bireal"
    """Gradient of the activations' sign: Bi-Real's triangle over x, or over x / mean |x|.

    Only BiMaCoSR has the second; the other methods keep the gradient of their papers."""

    linear: bool = True
    """Binarize fully connected layers as well as convolutions."""

    keep_float_conv: tuple[KeepFloatRule, ...] = ()
    """Convolutions that stay float."""

    keep_float_linear: tuple[KeepFloatRule, ...] = ()
    """Fully connected layers that stay float."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise OptionError(f"rank is {self.rank}; it must be at least 1 (or set low_rank=False)")
        if self.sign_of_zero not in (0, 1):
            raise OptionError(f"sign_of_zero is {self.sign_of_zero}; it must be 0 or 1")
        if self.sign_gradient not in ("bireal", "bireal_relative"):
            raise OptionError(
                f"sign_gradient is {self.sign_gradient!r}; it must be 'bireal' or 'bireal_relative'"
            )
