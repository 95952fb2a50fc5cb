"""ReSTE: plain signs with a rectified straight-through gradient.

    y = sign(x) * mean|W| sign(W) + bias

The gradient of both signs is 1 on [-1.5, 1.5]. Activations have no scale. The scale of the weight
is differentiated, unlike in the other methods.

Shapes: B batch, C channels, H height, W width (BCHW); N tokens.

Source: ReSTE, arXiv 2308.06689; power and threshold as the official code of BiMaCoSR fixes them.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bimacosr.binarize.method import BinarizeMethod
from bimacosr.binarize.signs import sign_reste
from bimacosr.binarize.source import (
    check_convolution,
    check_gradient,
    copy_parameters,
    stride_and_padding,
)
from bimacosr.config.binarize import BinarizeSettings

__all__ = ["METHOD", "ResteConv2d", "ResteLinear"]


def _binary_weight(weight: Tensor) -> Tensor:
    """``mean|W| sign(W)`` of a Cout x ... weight, differentiated in both factors."""
    scale = weight.abs().mean(tuple(range(1, weight.ndim)), keepdim=True)
    return scale * sign_reste(weight)


class ResteConv2d(nn.Module):
    """A 1-bit convolution, made from a float one."""

    def __init__(self, conv: nn.Conv2d, settings: BinarizeSettings) -> None:
        super().__init__()
        check_convolution(conv, "Reste")
        check_gradient(settings, "Reste")
        self.of_zero = settings.sign_of_zero
        self.stride, self.padding = stride_and_padding(conv)
        self.weight, self.bias = copy_parameters(conv)

    def forward(self, x: Tensor) -> Tensor:
        """BCHW to BCHW."""
        signs = sign_reste(x, self.of_zero)
        weight = _binary_weight(self.weight)
        return F.conv2d(signs, weight, self.bias, self.stride, self.padding)


class ResteLinear(nn.Module):
    """A 1-bit fully connected layer, made from a float one."""

    def __init__(self, linear: nn.Linear, settings: BinarizeSettings) -> None:
        super().__init__()
        check_gradient(settings, "Reste")
        self.of_zero = settings.sign_of_zero
        self.weight, self.bias = copy_parameters(linear)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ...N,Cin to ...N,Cout."""
        signs = sign_reste(x, self.of_zero)
        return F.linear(signs, _binary_weight(self.weight), self.bias)


METHOD = BinarizeMethod(
    id="reste",
    conv=ResteConv2d,
    linear=ResteLinear,
    source="ReSTE, arXiv 2308.06689",
)
