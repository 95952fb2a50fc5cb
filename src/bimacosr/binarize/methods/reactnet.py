"""ReActNet: learned offsets in front of the sign, a shortcut, and RPReLU.

    convolution:       y = RPReLU(sign(x + move) * mean|W| sign(W) + bias + x)
    fully connected:   y = sign(z) * mean|W| sign(W) + bias + z,    z = x + threshold

The shortcut is there only where the shapes on both sides are equal. The sign has Bi-Real's
gradient and no scale.

Shapes: B batch, C channels, H height, W width (BCHW); N tokens.

Source: ReActNet, arXiv 2003.03488, section 4.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimacosr.binarize.method import BinarizeMethod
from bimacosr.binarize.rprelu import ChannelBias, RPReLU
from bimacosr.binarize.signs import binary_weight, sign_bireal
from bimacosr.binarize.source import (
    check_convolution,
    check_gradient,
    copy_parameters,
    stride_and_padding,
)
from bimacosr.config.binarize import BinarizeSettings

__all__ = ["METHOD", "ReActNetConv2d", "ReActNetLinear"]


class ReActNetConv2d(nn.Module):
    """A 1-bit convolution with offsets and RPReLU, made from a float one."""

    def __init__(self, conv: nn.Conv2d, settings: BinarizeSettings) -> None:
        super().__init__()
        check_convolution(conv, "ReActNet")
        check_gradient(settings, "ReActNet")
        self.of_zero = settings.sign_of_zero
        self.stride, self.padding = stride_and_padding(conv)
        self.weight, self.bias = copy_parameters(conv)
        self.move0 = ChannelBias(conv.in_channels, stored_as_map=True)
        self.relu = RPReLU(conv.out_channels, stored_as_map=True)
        self.to(conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        """BCHW to BCHW."""
        signs = sign_bireal(self.move0(x), self.of_zero)
        y = F.conv2d(signs, binary_weight(self.weight), self.bias, self.stride, self.padding)
        if y.shape == x.shape:
            y = y + x
        return cast(Tensor, self.relu(y))


class ReActNetLinear(nn.Module):
    """A 1-bit fully connected layer with an offset; BBCU and BiDM take it too."""

    def __init__(self, linear: nn.Linear, settings: BinarizeSettings) -> None:
        super().__init__()
        check_gradient(settings, settings.method)
        self.of_zero = settings.sign_of_zero
        self.weight, self.bias = copy_parameters(linear)
        self.channel_threshold = nn.Parameter(torch.zeros(1, linear.in_features))
        self.to(linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ...N,Cin to ...N,Cout."""
        shifted = x + self.channel_threshold
        signs = sign_bireal(shifted, self.of_zero)
        y = F.linear(signs, binary_weight(self.weight), self.bias)
        return y + shifted if y.shape == shifted.shape else y


METHOD = BinarizeMethod(
    id="reactnet",
    conv=ReActNetConv2d,
    linear=ReActNetLinear,
    source="ReActNet, arXiv 2003.03488",
)
