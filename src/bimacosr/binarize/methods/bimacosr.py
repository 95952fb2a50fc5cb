"""BiMaCoSR: 1-bit weights and activations, a low-rank branch and a sparse branch.

    y = RPReLU(mean|x| sign(x) * mean|W| sign(W) + bias) + sparse(x) + low_rank(x)

Both branches see the float input. They are cut out of the float weight first, so that W is what
they leave over. Parameter names are those of the official checkpoints, including parameters that
have no effect (`move0`, `channel_threshold`).

Shapes: B batch, C channels, H height, W width (BCHW); N tokens.

Source: BiMaCoSR, arXiv 2502.00333, section 3.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimacosr.binarize.branches import SparseBranch, factorize, largest_entries
from bimacosr.binarize.method import BinarizeMethod
from bimacosr.binarize.rprelu import ChannelBias, RPReLU
from bimacosr.binarize.signs import binary_activation, binary_weight
from bimacosr.binarize.source import check_convolution, copy_parameters, stride_and_padding
from bimacosr.config.binarize import BinarizeSettings
from bimacosr.errors import OptionError

__all__ = ["METHOD", "BiMaCoSRConv2d", "BiMaCoSRLinear"]


class LowRankConv(nn.Module):
    """Two 1x1 convolutions, Cin -> rank -> Cout: ``B(A(x))``."""

    def __init__(self, left: Tensor, right: Tensor) -> None:
        super().__init__()
        rank, c_in = right.shape
        self.A = nn.Conv2d(c_in, rank, 1, bias=False, dtype=right.dtype)
        self.B = nn.Conv2d(rank, left.shape[0], 1, bias=False, dtype=left.dtype)
        with torch.no_grad():
            self.A.weight.copy_(right[:, :, None, None])
            self.B.weight.copy_(left[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """BCHW to BCHW at the same size."""
        return cast(Tensor, self.B(self.A(x)))


class LowRankLinear(nn.Module):
    """Two fully connected layers; here the names are the other way round: ``A(B(x))``."""

    def __init__(self, left: Tensor, right: Tensor) -> None:
        super().__init__()
        rank, c_in = right.shape
        self.B = nn.Linear(c_in, rank, bias=False, dtype=right.dtype)
        self.A = nn.Linear(rank, left.shape[0], bias=False, dtype=left.dtype)
        with torch.no_grad():
            self.B.weight.copy_(right)
            self.A.weight.copy_(left)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ...N,Cin to ...N,Cout."""
        return cast(Tensor, self.A(self.B(x)))


class BiMaCoSRConv2d(nn.Module):
    """A 1-bit convolution with its two branches, made from a float one.

    At stride 2 (Cin = Cout) the official layer adds an average pool and leaves both branches
    unused, although they were cut out of the weight: checkpoints depend on it.
    """

    def __init__(self, conv: nn.Conv2d, settings: BinarizeSettings) -> None:
        super().__init__()
        c_out, c_in = conv.weight.shape[:2]
        check_convolution(conv, "BiMaCoSR")
        self.stride, self.padding = stride_and_padding(conv)
        if self.stride[0] > 1 and c_in != c_out:
            raise OptionError(
                f"a strided convolution with {c_in} input and {c_out} output channels has no "
                "shortcut in BiMaCoSR; keep it in float by a rule"
            )
        self.of_zero = settings.sign_of_zero
        self.relative_gradient = settings.sign_gradient == "bireal_relative"
        self.weight, self.bias = copy_parameters(conv)
        self.move0 = ChannelBias(c_in)
        self.relu = RPReLU(c_out)
        self.skip_connection = self._cut_sparse() if settings.sparse else None
        self.lora = self._cut_low_rank(settings.rank) if settings.low_rank else None
        self.to(conv.weight)

    @torch.no_grad()
    def _cut_sparse(self) -> SparseBranch:
        matrix = self.weight.mean((2, 3))
        c_out, c_in = matrix.shape
        rows, columns = indices = largest_entries(matrix, 2 * max(c_out, c_in))
        values = matrix[rows, columns]
        self._centre()[rows, columns] -= values
        return SparseBranch(indices, values, (c_out, c_in))

    @torch.no_grad()
    def _cut_low_rank(self, rank: int) -> LowRankConv:
        left, right = factorize(self.weight.mean((2, 3)), rank)
        self._centre().sub_(left @ right)
        return LowRankConv(left, right)

    def _centre(self) -> Tensor:
        """The Cout x Cin matrix of the middle tap: what is cut out is cut out of it alone."""
        height, width = self.weight.shape[2:]
        return self.weight.data[:, :, height // 2, width // 2]

    def forward(self, x: Tensor) -> Tensor:
        """BCHW to BCHW."""
        signs = binary_activation(
            x, channel_dim=1, of_zero=self.of_zero, relative_gradient=self.relative_gradient
        )
        weight = binary_weight(self.weight)
        y: Tensor = self.relu(F.conv2d(signs, weight, self.bias, self.stride, self.padding))
        if self.skip_connection is not None:
            pooled = self.stride[0] > 1
            y = y + (F.avg_pool2d(x, self.stride) if pooled else self.skip_connection(x))
        if self.lora is not None and y.shape[2] == x.shape[2]:
            y = y + self.lora(x)
        return y


class BiMaCoSRLinear(nn.Module):
    """A 1-bit fully connected layer with its two branches, made from a float one."""

    def __init__(self, linear: nn.Linear, settings: BinarizeSettings) -> None:
        super().__init__()
        self.of_zero = settings.sign_of_zero
        self.relative_gradient = settings.sign_gradient == "bireal_relative"
        self.weight, self.bias = copy_parameters(linear)
        self.channel_threshold = nn.Parameter(torch.zeros(1, linear.in_features))
        self.skip_connection = self._cut_sparse() if settings.sparse else None
        self.lora = self._cut_low_rank(settings.rank) if settings.low_rank else None
        self.to(linear.weight)

    @torch.no_grad()
    def _cut_sparse(self) -> SparseBranch:
        rows, columns = indices = largest_entries(self.weight, 2 * max(self.weight.shape))
        values = self.weight[rows, columns]
        self.weight[rows, columns] -= values
        c_out, c_in = self.weight.shape
        return SparseBranch(indices, values, (c_out, c_in))

    @torch.no_grad()
    def _cut_low_rank(self, rank: int) -> LowRankLinear:
        left, right = factorize(self.weight, rank)
        self.weight.sub_(left @ right)
        return LowRankLinear(left, right)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ...N,Cin to ...N,Cout."""
        signs = binary_activation(
            x, channel_dim=-1, of_zero=self.of_zero, relative_gradient=self.relative_gradient
        )
        y = F.linear(signs, binary_weight(self.weight), self.bias)
        if self.lora is not None:
            y = y + self.lora(x)
        if self.skip_connection is not None:
            y = y + self.skip_connection(x)
        return y


METHOD = BinarizeMethod(
    id="bimacosr",
    conv=BiMaCoSRConv2d,
    linear=BiMaCoSRLinear,
    source="BiMaCoSR, arXiv 2502.00333",
)
