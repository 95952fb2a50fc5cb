"""HORQ: XNOR-Net with a second 1-bit term for what the first leaves over.

    y = (a1 sign(x) + a2 sign(x - a1 sign(x))) * (the same of W) + bias,    a = mean|.|

Activations have their scales a pixel or token, weights an output channel. Here, as in the
official code of BiMaCoSR, weights have two terms as well.

Shapes: B batch, C channels, H height, W width (BCHW); N tokens.

Source: HORQ, arXiv 1708.08687, section 3.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bimacosr.binarize.method import BinarizeMethod
from bimacosr.binarize.signs import binary_weight, clipped_activation
from bimacosr.binarize.source import (
    check_convolution,
    check_gradient,
    copy_parameters,
    stride_and_padding,
)
from bimacosr.config.binarize import BinarizeSettings

__all__ = ["METHOD", "HorqConv2d", "HorqLinear"]

_ORDER = 2


class HorqConv2d(nn.Module):
    """A 1-bit convolution, made from a float one."""

    def __init__(self, conv: nn.Conv2d, settings: BinarizeSettings) -> None:
        super().__init__()
        check_convolution(conv, "Horq")
        check_gradient(settings, "Horq")
        self.of_zero = settings.sign_of_zero
        self.stride, self.padding = stride_and_padding(conv)
        self.weight, self.bias = copy_parameters(conv)

    def forward(self, x: Tensor) -> Tensor:
        """BCHW to BCHW."""
        signs = clipped_activation(x, channel_dim=1, order=_ORDER, of_zero=self.of_zero)
        weight = binary_weight(self.weight, _ORDER)
        return F.conv2d(signs, weight, self.bias, self.stride, self.padding)


class HorqLinear(nn.Module):
    """A 1-bit fully connected layer, made from a float one."""

    def __init__(self, linear: nn.Linear, settings: BinarizeSettings) -> None:
        super().__init__()
        check_gradient(settings, "Horq")
        self.of_zero = settings.sign_of_zero
        self.weight, self.bias = copy_parameters(linear)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ...N,Cin to ...N,Cout."""
        signs = clipped_activation(x, channel_dim=-1, order=_ORDER, of_zero=self.of_zero)
        return F.linear(signs, binary_weight(self.weight, _ORDER), self.bias)


METHOD = BinarizeMethod(
    id="horq",
    conv=HorqConv2d,
    linear=HorqLinear,
    source="HORQ, arXiv 1708.08687",
)
