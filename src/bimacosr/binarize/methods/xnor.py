"""XNOR-Net: one scale a pixel or token, one scale an output channel.

    y = mean|x| sign(x) * mean|W| sign(W) + bias

The gradient of both signs is clipped to 1 on [-1, 1]; neither scale is differentiated.

Shapes: B batch, C channels, H height, W width (BCHW); N tokens.

Source: XNOR-Net, arXiv 1603.05279, section 3.2.
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

__all__ = ["METHOD", "XnorConv2d", "XnorLinear"]


class XnorConv2d(nn.Module):
    """A 1-bit convolution, made from a float one."""

    def __init__(self, conv: nn.Conv2d, settings: BinarizeSettings) -> None:
        super().__init__()
        check_convolution(conv, "Xnor")
        check_gradient(settings, "Xnor")
        self.of_zero = settings.sign_of_zero
        self.stride, self.padding = stride_and_padding(conv)
        self.weight, self.bias = copy_parameters(conv)

    def forward(self, x: Tensor) -> Tensor:
        """BCHW to BCHW."""
        signs = clipped_activation(x, channel_dim=1, of_zero=self.of_zero)
        weight = binary_weight(self.weight)
        return F.conv2d(signs, weight, self.bias, self.stride, self.padding)


class XnorLinear(nn.Module):
    """A 1-bit fully connected layer, made from a float one."""

    def __init__(self, linear: nn.Linear, settings: BinarizeSettings) -> None:
        super().__init__()
        check_gradient(settings, "Xnor")
        self.of_zero = settings.sign_of_zero
        self.weight, self.bias = copy_parameters(linear)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ...N,Cin to ...N,Cout."""
        signs = clipped_activation(x, channel_dim=-1, of_zero=self.of_zero)
        return F.linear(signs, binary_weight(self.weight), self.bias)


METHOD = BinarizeMethod(
    id="xnor",
    conv=XnorConv2d,
    linear=XnorLinear,
    source="XNOR-Net, arXiv 1603.05279",
)
