"""BiDM: the scale of the activations by a learned filter, and a scaled float shortcut.

    y = k * (sign(x + threshold) * mean|W| sign(W) + bias) + |s| shortcut(x),    k = K(mean|x|)

K is a convolution of one channel, of the size of W: an average at first, then learned. k scales
the bias too. Fully connected layers are ReActNet's, as in the official code of BiMaCoSR.

Shapes: B batch, C channels, H height, W width (BCHW).

Source: BiDM, arXiv 2412.05926.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimacosr.binarize.method import BinarizeMethod
from bimacosr.binarize.methods.reactnet import ReActNetLinear
from bimacosr.binarize.signs import binary_weight, sign_bireal
from bimacosr.binarize.source import (
    check_convolution,
    check_gradient,
    copy_parameters,
    stride_and_padding,
)
from bimacosr.config.binarize import BinarizeSettings

__all__ = ["METHOD", "BidmConv2d"]


class BidmConv2d(nn.Module):
    """A 1-bit convolution with a learned scale and a shortcut, made from a float one.

    The first forward after construction sets the filter to an average, as the official layer
    does: a filter loaded from a checkpoint is lost. With other output than input channels the
    shortcut is a float 1x1 convolution, initialised at random.
    """

    def __init__(self, conv: nn.Conv2d, settings: BinarizeSettings) -> None:
        super().__init__()
        check_convolution(conv, "BiDM")
        check_gradient(settings, "BiDM")
        c_in, c_out = conv.in_channels, conv.out_channels
        self.of_zero = settings.sign_of_zero
        self.stride, self.padding = stride_and_padding(conv)
        self.weight, self.bias = copy_parameters(conv)
        self.channel_threshold = nn.Parameter(torch.zeros(1, c_in, 1, 1))
        size = cast("tuple[int, int]", conv.kernel_size)
        # the official spelling
        self.fliter_k = nn.Conv2d(1, 1, size, self.stride, self.padding, bias=False)
        self.filter_is_set = False
        self.shortcut_scale = nn.Parameter(torch.full((1,), 0.3))
        self.shortcut = nn.Conv2d(c_in, c_out, 1, self.stride) if c_in != c_out else None
        self.to(conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        """BCHW to BCHW."""
        if not self.filter_is_set:
            average = torch.tensor(1 / self.fliter_k.weight.numel())  # float32, as officially
            with torch.no_grad():
                self.fliter_k.weight.copy_(average)
            self.filter_is_set = True
        scale = self.fliter_k(x.abs().mean(1, keepdim=True))
        signs = sign_bireal(x + self.channel_threshold, self.of_zero)
        y = F.conv2d(signs, binary_weight(self.weight), self.bias, self.stride, self.padding)
        return cast(Tensor, y * scale + self.shortcut_scale.abs() * self._shortcut(x))

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.shortcut is not None:
            return cast(Tensor, self.shortcut(x))
        return F.avg_pool2d(x, self.stride) if self.stride[0] > 1 else x


METHOD = BinarizeMethod(
    id="bidm",
    conv=BidmConv2d,
    linear=ReActNetLinear,
    source="BiDM, arXiv 2412.05926",
)
