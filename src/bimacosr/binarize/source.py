"""What every 1-bit layer takes over from the float layer it is made of."""

from __future__ import annotations

from typing import cast

from torch import nn

from bimacosr.config.binarize import BinarizeSettings
from bimacosr.errors import OptionError

__all__ = ["check_convolution", "check_gradient", "copy_parameters", "stride_and_padding"]


def copy_parameters(layer: nn.Conv2d | nn.Linear) -> tuple[nn.Parameter, nn.Parameter | None]:
    """Weight (Cout x ...) and bias (Cout, or none) of `layer`, as parameters of their own."""
    weight = nn.Parameter(layer.weight.detach().clone())
    return weight, None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())


def stride_and_padding(conv: nn.Conv2d) -> tuple[tuple[int, int], tuple[int, int] | str]:
    """Stride and padding of `conv`, as `conv2d` takes them."""
    return (
        cast("tuple[int, int]", conv.stride),
        cast("tuple[int, int] | str", conv.padding),
    )


def check_convolution(conv: nn.Conv2d, method: str) -> None:
    """Refuse a convolution that `method` has no 1-bit layer for.

    Raises:
        OptionError: it has groups, dilation or a padding other than zeros.
    """
    if conv.groups > 1 or conv.dilation != (1, 1) or conv.padding_mode != "zeros":
        raise OptionError(
            f"{method} has no 1-bit convolution with groups, dilation or a padding other than "
            "zeros; keep it in float by a rule"
        )


def check_gradient(settings: BinarizeSettings, method: str) -> None:
    """Refuse a `sign_gradient` that `method`, whose paper fixes it, would not follow.

    Raises:
        OptionError: it is not the default.
    """
    if settings.sign_gradient != "bireal":
        raise OptionError(
            f"sign_gradient is {settings.sign_gradient!r}, but {method} has a gradient of its own; "
            "leave it at 'bireal'"
        )
