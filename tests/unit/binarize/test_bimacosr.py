"""The 1-bit layers against their formula, written out here a second time in plain steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimacosr.binarize.methods.bimacosr import BiMaCoSRConv2d, BiMaCoSRLinear
from bimacosr.binarize.rprelu import RPReLU
from bimacosr.config.binarize import BinarizeSettings
from bimacosr.errors import OptionError


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def stirred(layer: nn.Module) -> Any:
    """`layer` with every parameter moved, so that none is at a value without effect."""
    with torch.no_grad():
        for k, parameter in enumerate(layer.parameters()):
            parameter.add_(0.3 * normal(*parameter.shape, seed=100 + k))
    return layer


def conv(c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    torch.manual_seed(0)
    layer = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2)
    return layer.double()


def linear(c_in: int, c_out: int) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(c_in, c_out).double()


def binary_part(layer: Any, x: Tensor) -> Tensor:
    """RPReLU(mean|x| sign(x) * mean|W| sign(W) + bias), tap by tap."""
    signs = torch.where(x < 0, -1.0, torch.where(x > 0, 1.0, float(layer.of_zero)))
    activation = x.abs().sum(1, keepdim=True) / x.shape[1] * signs
    weight = layer.weight
    c_out, c_in, kernel, _ = weight.shape
    signs_w = (weight > 0).double() - (weight < 0).double()
    scale = weight.abs().sum((1, 2, 3)) / (c_in * kernel * kernel)
    padded = F.pad(activation, (kernel // 2,) * 4)
    height, width = x.shape[2:]
    y = layer.bias[:, None, None].expand(len(x), c_out, height, width)
    for dy in range(kernel):
        for dx in range(kernel):
            seen = padded[:, :, dy : dy + height, dx : dx + width]
            tap = scale[:, None] * signs_w[:, :, dy, dx]
            y = y + torch.einsum("oc,bchw->bohw", tap, seen)
    y = y[:, :, :: layer.stride[0], :: layer.stride[1]] + layer.relu.pr_bias0.bias[0, :, None, None]
    slope = layer.relu.pr_prelu.weight[:, None, None]
    y = torch.where(y < 0, slope * y, y)
    return y + layer.relu.pr_bias1.bias[0, :, None, None]


def sparse_matrix(branch: Any, shape: tuple[int, int]) -> Tensor:
    dense = torch.zeros(shape, dtype=torch.float64)
    for row, column, value in zip(*branch.indices_float.long(), branch.values, strict=True):
        dense[row, column] = value
    return dense


@pytest.mark.parametrize("of_zero", [0, 1])
@pytest.mark.parametrize("low_rank", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("sizes", [(8, 8, 3), (6, 10, 3), (10, 6, 1)])
def test_convolution(
    sizes: tuple[int, int, int], sparse: bool, low_rank: bool, of_zero: int
) -> None:
    c_in, c_out, kernel = sizes
    settings = BinarizeSettings(
        rank=2, sparse=sparse, low_rank=low_rank, sign_of_zero=of_zero
    )  # fmt: skip
    layer = stirred(BiMaCoSRConv2d(conv(c_in, c_out, kernel), settings))
    x = normal(2, c_in, 5, 4)
    x[:, ::3, ::2] = 0
    wanted = binary_part(layer, x)
    if sparse:
        matrix = sparse_matrix(layer.skip_connection, (c_out, c_in))
        wanted = wanted + torch.einsum("oc,bchw->bohw", matrix, x)
    if low_rank:
        matrix = layer.lora.B.weight[:, :, 0, 0] @ layer.lora.A.weight[:, :, 0, 0]
        wanted = wanted + torch.einsum("oc,bchw->bohw", matrix, x)
    torch.testing.assert_close(layer(x), wanted)


@pytest.mark.parametrize("sparse", [True, False])
def test_strided_convolution_pools_the_shortcut_and_leaves_both_branches_out(sparse: bool) -> None:
    settings = BinarizeSettings(rank=2, sparse=sparse)
    layer = stirred(BiMaCoSRConv2d(conv(8, 8, stride=2), settings))
    x = normal(2, 8, 6, 4)
    wanted = binary_part(layer, x)
    if sparse:
        wanted = wanted + x.reshape(2, 8, 3, 2, 2, 2).mean((3, 5))
    assert layer(x).shape == (2, 8, 3, 2)
    torch.testing.assert_close(layer(x), wanted)


@pytest.mark.parametrize("low_rank", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("shape", [(5, 12), (2, 7, 12)])
def test_fully_connected_layer(shape: tuple[int, ...], sparse: bool, low_rank: bool) -> None:
    settings = BinarizeSettings(rank=3, sparse=sparse, low_rank=low_rank)
    layer = stirred(BiMaCoSRLinear(linear(12, 7), settings))
    x = normal(*shape)
    signs = x.abs().mean(-1, keepdim=True) * x.sign()
    weight = layer.weight.abs().mean(1, keepdim=True) * layer.weight.sign()
    wanted = signs @ weight.T + layer.bias
    if sparse:
        wanted = wanted + x @ sparse_matrix(layer.skip_connection, (7, 12)).T
    if low_rank:
        wanted = wanted + x @ (layer.lora.A.weight @ layer.lora.B.weight).T
    torch.testing.assert_close(layer(x), wanted)


class TestInitialisation:
    def test_only_the_middle_tap_is_reduced(self) -> None:
        float_layer = conv(6, 10)
        layer = BiMaCoSRConv2d(float_layer, BinarizeSettings(rank=2))
        difference = float_layer.weight.detach() - layer.weight.detach()
        others = difference.clone()
        others[:, :, 1, 1] = 0
        assert not others.any()
        product = layer.lora.B.weight[:, :, 0, 0] @ layer.lora.A.weight[:, :, 0, 0]
        sparse = sparse_matrix(layer.skip_connection, (10, 6))
        torch.testing.assert_close(difference[:, :, 1, 1], sparse + product)

    def test_the_sparse_branch_takes_the_largest_means_first(self) -> None:
        float_layer = conv(6, 10)
        layer = BiMaCoSRConv2d(float_layer, BinarizeSettings(rank=2))
        assert layer.skip_connection is not None
        mean = float_layer.weight.detach().mean((2, 3))
        chosen = sparse_matrix(layer.skip_connection, (10, 6)) != 0
        assert chosen.sum() == 2 * 10
        torch.testing.assert_close(layer.skip_connection.values.detach(), mean[chosen])
        assert mean[chosen].abs().min() >= mean[~chosen].abs().max()

    def test_a_linear_layer_loses_what_its_branches_carry(self) -> None:
        float_layer = linear(12, 7)
        layer = BiMaCoSRLinear(float_layer, BinarizeSettings(rank=3))
        assert layer.lora is not None
        assert layer.skip_connection is not None
        whole = (
            layer.weight
            + layer.lora.A.weight @ layer.lora.B.weight
            + sparse_matrix(layer.skip_connection, (7, 12))
        )
        torch.testing.assert_close(whole, float_layer.weight)
        assert len(layer.skip_connection.values) == 2 * 12

    def test_rprelu_starts_as_a_leaky_relu(self) -> None:
        relu = RPReLU(3)
        x = torch.tensor([-4.0, 0.0, 4.0]).reshape(1, 3, 1, 1)
        assert relu(x).flatten().tolist() == [-1, 0, 4]

    def test_no_bias(self) -> None:
        layer = BiMaCoSRConv2d(nn.Conv2d(8, 8, 1, bias=False), BinarizeSettings())
        assert layer.bias is None
        assert layer(torch.ones(1, 8, 2, 2)).isfinite().all()
        dense = BiMaCoSRLinear(nn.Linear(8, 8, bias=False), BinarizeSettings())
        assert dense.bias is None
        assert dense(torch.ones(1, 8)).isfinite().all()


class TestNames:
    def test_convolution(self) -> None:
        layer = BiMaCoSRConv2d(nn.Conv2d(6, 10, 3), BinarizeSettings(rank=2))
        assert {key: tuple(value.shape) for key, value in layer.state_dict().items()} == {
            "weight": (10, 6, 3, 3),
            "bias": (10,),
            "move0.bias": (1, 6),
            "relu.pr_bias0.bias": (1, 10),
            "relu.pr_prelu.weight": (10,),
            "relu.pr_bias1.bias": (1, 10),
            "skip_connection.values": (20,),
            "skip_connection.indices_float": (2, 20),
            "lora.A.weight": (2, 6, 1, 1),
            "lora.B.weight": (10, 2, 1, 1),
        }

    def test_fully_connected_layer(self) -> None:
        layer = BiMaCoSRLinear(nn.Linear(6, 10), BinarizeSettings(rank=2))
        assert {key: tuple(value.shape) for key, value in layer.state_dict().items()} == {
            "weight": (10, 6),
            "bias": (10,),
            "channel_threshold": (1, 6),
            "skip_connection.values": (20,),
            "skip_connection.indices_float": (2, 20),
            "lora.B.weight": (2, 6),
            "lora.A.weight": (10, 2),
        }


@pytest.mark.parametrize("name", ["move0", "channel_threshold"])
def test_parameters_without_effect(name: str) -> None:
    settings = BinarizeSettings(rank=2)
    layer: nn.Module
    if name == "move0":
        layer, x = BiMaCoSRConv2d(conv(8, 8), settings), normal(1, 8, 3, 3)
        parameter = layer.get_parameter("move0.bias")
    else:
        layer, x = BiMaCoSRLinear(linear(8, 8), settings), normal(3, 8)
        parameter = layer.get_parameter("channel_threshold")
    before = layer(x)
    with torch.no_grad():
        parameter.fill_(9)
    assert torch.equal(layer(x), before)
    layer(x).sum().backward()
    assert parameter.grad is None


class TestGradientOfTheSign:
    @pytest.mark.parametrize(("relative", "reach"), [(False, 0.0), (True, 1.0)])
    def test_large_inputs_get_a_gradient_only_if_it_is_relative(
        self, relative: bool, reach: float
    ) -> None:
        gradient: Any = "bireal_relative" if relative else "bireal"
        settings = BinarizeSettings(sparse=False, low_rank=False, sign_gradient=gradient)
        layer = BiMaCoSRConv2d(conv(8, 8), settings)
        x = (50 * normal(1, 8, 4, 4)).sign_().mul_(30).requires_grad_()
        x.data[:, 0] *= 0.5
        layer(x).square().sum().backward()
        assert x.grad is not None
        assert (x.grad[:, 0].abs() > 0).double().mean() == reach


class TestRefused:
    def test_stride_with_other_channels(self) -> None:
        with pytest.raises(OptionError, match="8 input and 16 output channels has no shortcut"):
            BiMaCoSRConv2d(conv(8, 16, stride=2), BinarizeSettings())

    @pytest.mark.parametrize(
        "options", [{"groups": 2}, {"dilation": 2}, {"padding_mode": "reflect"}]
    )
    def test_convolutions_of_other_kinds(self, options: dict[str, Any]) -> None:
        with pytest.raises(OptionError, match="no 1-bit convolution with groups, dilation or a"):
            BiMaCoSRConv2d(nn.Conv2d(8, 8, 3, **options), BinarizeSettings())

    def test_too_few_weights(self) -> None:
        with pytest.raises(OptionError, match="needs 16 entries, but the layer has only 8"):
            BiMaCoSRLinear(nn.Linear(8, 1), BinarizeSettings())
        BiMaCoSRLinear(nn.Linear(8, 2), BinarizeSettings())
