"""Parameters, operations and bytes of small networks, against sums done by hand or by PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bimacosr.binarize.convert import binarize
from bimacosr.binarize.registry import METHODS
from bimacosr.config.binarize import BinarizeSettings
from bimacosr.costs.count import Cost, count
from tests.unit.costs.networks import tiny_student, tiny_unet, unet_inputs


def layer_costs(layer: nn.Module, method: str | None, *shape: int, **options: object) -> list[Cost]:
    """What `layer` costs inside a network of its own, on an input of that shape."""
    with torch.device("meta"):
        network: nn.Module = nn.Sequential(layer).to("meta")
        if method is not None:
            network = binarize(network, BinarizeSettings(method=method, **options))
        return count(network, (torch.empty(*shape),))


def of_kind(costs: list[Cost], kind: str) -> Cost:
    (found,) = (cost for cost in costs if cost.kind == kind)
    return found


class TestFloatLayers:
    def test_a_convolution(self) -> None:
        conv = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        assert layer_costs(conv, None, 1, 6, 10, 14) == [
            Cost(
                layer="0",
                kind="3x3 convolution",
                parameters=432,
                macs=432 * 5 * 7,
                float_bytes=1728,
                packed_bytes=864,
            ),
            Cost(layer="0", kind="bias", parameters=8, float_bytes=32, packed_bytes=16),
        ]

    def test_a_fully_connected_layer_works_on_every_token(self) -> None:
        costs = layer_costs(nn.Linear(6, 8), None, 5, 7, 6)
        assert of_kind(costs, "linear").macs == 48 * 35
        assert of_kind(costs, "bias").macs == 0

    @pytest.mark.parametrize(
        ("layer", "shape", "kind", "parameters"),
        [
            (nn.GroupNorm(2, 4), (1, 4, 3, 3), "norm", 8),
            (nn.PReLU(4), (1, 4, 3, 3), "activation and offset", 4),
        ],
    )
    def test_elementwise_work_is_not_counted(
        self, layer: nn.Module, shape: tuple[int, ...], kind: str, parameters: int
    ) -> None:
        costs = layer_costs(layer, None, *shape)
        assert {cost.kind for cost in costs} == {kind}
        assert sum(cost.parameters for cost in costs) == parameters
        assert sum(cost.macs for cost in costs) == 0

    def test_a_layer_that_runs_twice_is_counted_twice(self) -> None:
        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(4, 4, bias=False)

            def forward(self, x: Tensor) -> Tensor:
                y: Tensor = self.layer(self.layer(x))
                return y

        (cost,) = count(Twice(), (torch.zeros(3, 4),))
        assert (cost.parameters, cost.macs) == (16, 2 * 3 * 16)


class TestOneBitLayers:
    def test_a_convolution_with_both_branches(self) -> None:
        costs = layer_costs(nn.Conv2d(6, 70, 3, padding=1), "bimacosr", 1, 6, 4, 5, rank=2)
        binary = of_kind(costs, "3x3 convolution")
        assert binary == Cost(
            layer="0",
            kind="3x3 convolution",
            one_bit=True,
            parameters=3780,
            macs=3780 * 20,
            binary_operations=2 * 3780 * 20,
            float_bytes=4 * 3780,
            packed_bytes=70 * 9 * 8 + 70 * 2,  # six channels of a tap take a whole word
        )
        low_rank = [cost for cost in costs if cost.kind == "low-rank branch"]
        assert sum(cost.parameters for cost in low_rank) == 2 * (6 + 70)
        assert sum(cost.macs for cost in low_rank) == 20 * 2 * (6 + 70)
        sparse = of_kind(costs, "sparse branch")
        assert sparse.parameters == 2 * 70
        assert sparse.macs == 20 * 2 * 70
        assert sparse.float_bytes == 3 * 4 * 140  # a value, a row and a column each
        assert sparse.packed_bytes == 3 * 2 * 140
        assert not any(cost.binary_operations for cost in costs if cost is not binary)

    def test_a_word_is_begun_for_the_65th_channel(self) -> None:
        narrow, wide = (
            of_kind(layer_costs(nn.Linear(c, 200), "xnor", 1, c), "linear").packed_bytes
            for c in (64, 65)
        )
        assert narrow == 200 * 8 + 400
        assert wide == 200 * 16 + 400

    def test_branches_that_a_stride_leaves_unused_have_no_operations(self) -> None:
        conv = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        costs = layer_costs(conv, "bimacosr", 1, 8, 4, 4)
        branches = [c for c in costs if c.kind in ("low-rank branch", "sparse branch")]
        assert sum(cost.parameters for cost in branches) == 2 * 8 * 8 + 16
        assert sum(cost.macs for cost in branches) == 0
        assert of_kind(costs, "3x3 convolution").macs == 576 * 4

    def test_horq_multiplies_two_terms_by_two(self) -> None:
        horq, xnor = (
            of_kind(layer_costs(nn.Linear(64, 4), method, 3, 64), "linear")
            for method in ("horq", "xnor")
        )
        assert horq.macs == xnor.macs == 3 * 256
        assert xnor.binary_operations == 2 * 3 * 256
        assert horq.binary_operations == 8 * 3 * 256
        assert horq.packed_bytes == 2 * xnor.packed_bytes == 2 * 4 * (8 + 2)

    def test_parameters_without_effect_are_not_packed(self) -> None:
        costs = layer_costs(nn.Linear(64, 4), "bimacosr", 1, 64, low_rank=False, sparse=False)
        threshold = of_kind(costs, "activation and offset")
        assert (threshold.parameters, threshold.packed_bytes) == (64, 0)
        costs = layer_costs(nn.Linear(64, 4), "reactnet", 1, 64)  # there it has an effect
        assert of_kind(costs, "activation and offset").packed_bytes == 128

    def test_the_float_convolutions_of_bidm_are_float(self) -> None:
        costs = layer_costs(nn.Conv2d(6, 8, 3, padding=1), "bidm", 1, 6, 4, 4)
        shortcuts = [cost for cost in costs if cost.kind == "shortcut and filter"]
        # the filter of one channel, weight and bias of the 1x1 shortcut
        assert sorted(cost.parameters for cost in shortcuts) == [8, 9, 48]
        assert sum(cost.macs for cost in shortcuts) == 16 * (9 + 48)
        assert not any(cost.one_bit for cost in shortcuts)


class TestNetworks:
    def test_a_float_network_as_pytorch_counts_it(self) -> None:
        network, inputs = tiny_unet(), unet_inputs(32, 16)
        with FlopCounterMode(display=False) as counter:
            network(*inputs)
        costs = count(network, inputs)
        assert 2 * sum(cost.macs for cost in costs) == counter.get_total_flops()
        assert sum(cost.macs for cost in costs if cost.kind == "attention products") > 0

    @pytest.mark.parametrize("method", [None, *METHODS])
    def test_every_parameter_is_in_one_part(self, method: str | None) -> None:
        network = tiny_unet() if method is None else tiny_student(method)
        costs = count(network, unet_inputs())
        layers = {path for path, _ in network.named_modules()}
        assert {cost.layer for cost in costs} <= layers
        assert sum(c.parameters for c in costs) == sum(p.numel() for p in network.parameters())
        assert any(cost.one_bit for cost in costs) == (method is not None)

    def test_a_student_does_the_work_of_its_original_in_one_bit(self) -> None:
        """All but the first and the last convolution and the attention products, layer by layer."""
        before = {
            (c.layer, c.kind): (c.parameters, c.macs) for c in count(tiny_unet(), unet_inputs())
        }
        one_bit = [c for c in count(tiny_student(), unet_inputs()) if c.one_bit]
        assert len(one_bit) > 20
        assert [before[c.layer, c.kind] for c in one_bit] == [
            (c.parameters, c.macs) for c in one_bit
        ]
        left = {name for name, kind in before if "convolution" in kind or kind == "linear"}
        assert left - {c.layer for c in one_bit} == {"input_blocks.0.0", "out.2"}

    @pytest.mark.parametrize("kind", ["norm", "position table", "bias", "attention products"])
    def test_what_lies_between_1_bit_layers_stays_what_it_was(self, kind: str) -> None:
        before, after = (
            [c for c in count(network, unet_inputs()) if c.kind == kind]
            for network in (tiny_unet(), tiny_student())
        )
        assert after == before != []

    def test_real_numbers_change_nothing(self) -> None:
        network = tiny_student().to_empty(device="cpu")
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                tensor.zero_()
        inputs = tuple(torch.zeros(x.shape, dtype=x.dtype) for x in unet_inputs())
        assert count(network, inputs) == count(tiny_student(), unet_inputs())

    @pytest.mark.parametrize("make", [tiny_unet, tiny_student])
    def test_only_operations_grow_with_the_picture(self, make: Callable[[], nn.Module]) -> None:
        small = count(make(), unet_inputs(16, 16))
        large = count(make(), unet_inputs(32, 48))
        assert [c.parameters for c in large] == [c.parameters for c in small]
        # the time step is one token whatever the picture
        time = ("time_embed", "emb_layers")
        grown = [6 * a.macs for a in small if not any(word in a.layer for word in time)]
        assert [a.macs for a in large if not any(word in a.layer for word in time)] == grown
        assert sum(grown) > 0

    def test_the_network_stays_as_it_was(self) -> None:
        network = tiny_student()
        count(network, unet_inputs())
        assert not any(module._forward_hooks for module in network.modules())
        with pytest.raises(Exception, match="multiples of"):
            count(network, unet_inputs(17, 16))
        assert not any(module._forward_hooks for module in network.modules())
