"""BBCU: ReActNet's convolution with the shortcut past RPReLU instead of through it.

    y = RPReLU(sign(x + move) * mean|W| sign(W) + bias) + x

The shortcut is there only where the shapes on both sides are equal. Fully connected layers are
ReActNet's.

Shapes: B batch, C channels, H height, W width (BCHW).

Source: Basic Binary Convolution Unit, arXiv 2210.00405, section 3.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from bimacosr.binarize.method import BinarizeMethod
from bimacosr.binarize.methods.reactnet import ReActNetLinear
from bimacosr.binarize.rprelu import ChannelBias, RPReLU
from bimacosr.binarize.signs import binary_weight, sign_bireal
from bimacosr.binarize.source import (
    check_convolution,
    check_gradient,
    copy_parameters,
    stride_and_padding,
)
from bimacosr.config.binarize import BinarizeSettings

__all__ = ["METHOD", "BbcuConv2d"]


class BbcuConv2d(nn.Module):
    """A 1-bit convolution with offsets and RPReLU, made from a float one."""

    def __init__(self, conv: nn.Conv2d, settings: BinarizeSettings) -> None:
        super().__init__()
        check_convolution(conv, "BBCU")
        check_gradient(settings, "BBCU")
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
        y = cast(Tensor, self.relu(y))
        return y + x if y.shape == x.shape else y


METHOD = BinarizeMethod(
    id="bbcu",
    conv=BbcuConv2d,
    linear=ReActNetLinear,
    source="BBCU, arXiv 2210.00405",
)
