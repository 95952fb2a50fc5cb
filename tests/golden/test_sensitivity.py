"""What one slip in an implementation does to the tiny student: the same slips, the same effects.

A slip put into our network must move its output exactly as it moved the official one's, in all
three states: so the goldens tell such slips apart, and the parts at fault are the same ones. The
reference names the slips alone; which layer each is in was found by trying all of them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimacosr.binarize.signs import binary_activation, binary_weight
from bimacosr.networks import swin
from bimacosr.networks.unet import UNetModelSwin
from tests.golden import reference as ref
from tests.golden import students
from tests.golden.time_embedding import feed_stored_time_embedding

NAME, RUN = "student_tiny", "rect"

Slip = Callable[[nn.Module], None]


@cache
def student(state: str) -> UNetModelSwin:
    network = students.build(NAME, torch.float64)
    if state != "A":
        students.fill(network, state)
    return network


def run(network: nn.Module, state: str) -> Tensor:
    out: Tensor = network(*students.inputs_of(NAME, state, RUN, torch.float64))
    return out


@cache
def rightly(state: str) -> Tensor:
    """The output without a slip."""
    return run(student(state), state)


def flip_one_weight(layer: Any) -> None:
    layer.weight.data[3, 5, 1, 1] *= -1


def transpose_sparse_indices(layer: Any) -> None:
    layer.skip_connection.indices_float = layer.skip_connection.indices_float.flip(0)


def leave_out_low_rank(layer: Any) -> None:
    layer.lora = None


def leave_out_sparse(layer: Any) -> None:
    layer.skip_connection.values.data.zero_()


def take_one_scale_for_all(layer: Any) -> None:
    layer.forward = convolution(layer, lambda x: x.abs().mean() * x.sign(), binary_weight)


def take_weight_scale_by_rms(layer: Any) -> None:
    def by_rms(weight: Tensor) -> Tensor:
        return weight.square().mean((1, 2, 3), keepdim=True).sqrt() * weight.sign()

    layer.forward = convolution(layer, activation, by_rms)


def leave_out_pooling(layer: Any) -> None:
    layer.forward = convolution(layer, activation, binary_weight, branches=False)


def take_other_eps(layer: Any) -> None:
    layer.eps = 1e-6


def take_tanh_gelu(layer: Any) -> None:
    layer.approximate = "tanh"


def shift_bias(layer: Any) -> None:
    layer.relu.pr_bias1.bias.data += 1e-3


def transpose_position_index(layer: Any) -> None:
    layer.relative_position_index = layer.relative_position_index.T


def activation(x: Tensor) -> Tensor:
    return binary_activation(x, channel_dim=1)


def convolution(
    layer: Any,
    signs_of: Callable[[Tensor], Tensor],
    weight_of: Callable[[Tensor], Tensor],
    *,
    branches: bool = True,
) -> Callable[[Tensor], Tensor]:
    """The forward of a binary convolution with one of its parts exchanged."""

    def forward(x: Tensor) -> Tensor:
        weight = weight_of(layer.weight)
        y: Tensor = layer.relu(
            F.conv2d(signs_of(x), weight, layer.bias, layer.stride, layer.padding)
        )
        return y + layer.skip_connection(x) + layer.lora(x) if branches else y

    return forward


SLIPS: dict[str, tuple[str, Slip]] = {
    "one weight sign flipped (middle conv)": ("middle_block.0.in_layers.2", flip_one_weight),
    "sparse indices transposed in one attn.proj": (
        "middle_block.1.blocks.0.attn.proj",
        transpose_sparse_indices,
    ),
    "low-rank branch left out of one fc2": (
        "input_blocks.3.1.blocks.1.mlp.fc2",
        leave_out_low_rank,
    ),
    "sparse branch left out of one fc2": ("input_blocks.3.1.blocks.1.mlp.fc2", leave_out_sparse),
    "activation scale per tensor, last conv": (
        "output_blocks.4.0.in_layers.2",
        take_one_scale_for_all,
    ),
    "activation scale per tensor, one middle fc1": (
        "middle_block.1.blocks.0.mlp.fc1",
        take_one_scale_for_all,
    ),
    "average-pool shortcut left out": ("input_blocks.2.0.op", leave_out_pooling),
    "one GN eps 1e-6 instead of 1e-5": ("middle_block.0.in_layers.0", take_other_eps),
    "tanh GELU in one MLP": ("middle_block.1.blocks.0.mlp.act", take_tanh_gelu),
    "one pr_bias1 off by 1e-3": ("middle_block.2.out_layers.3", shift_bias),
    "position index transposed in one attention": (
        "input_blocks.1.1.blocks.0.attn",
        transpose_position_index,
    ),
    "weight scale by rms in one conv": ("output_blocks.1.0.out_layers.3", take_weight_scale_by_rms),
}


@pytest.fixture(autouse=True)
def stored_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    feed_stored_time_embedding(monkeypatch)


@torch.no_grad()
def check(network: nn.Module, slip: str, state: str) -> None:
    """The relative rms that the slip moves the output by is the official one's."""
    off = run(network, state) - rightly(state)
    moved = float(off.square().mean().sqrt() / rightly(state).square().mean().sqrt())
    # a slip of 1e-10 shows only to the rounding of the output, 1e-15
    assert moved == pytest.approx(ref.meta("sensitivity")[state][slip], rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("state", ["A", "B", "C"])
@pytest.mark.parametrize("slip", SLIPS)
def test_one_slip(slip: str, state: str) -> None:
    name, make = SLIPS[slip]
    network = copy.deepcopy(student(state))
    make(network.get_submodule(name))
    check(network, slip, state)


@pytest.mark.parametrize("state", ["A", "B", "C"])
def test_shift_mask_ignored(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rightly(state)
    mask = swin.shift_mask
    monkeypatch.setattr(swin, "shift_mask", lambda *size: torch.zeros_like(mask(*size)))
    check(student(state), "shift mask ignored", state)


@pytest.mark.parametrize("state", ["A", "B", "C"])
def test_all_slips_are_tried(state: str) -> None:
    assert set(ref.meta("sensitivity")[state]) == {"shift mask ignored", *SLIPS}
