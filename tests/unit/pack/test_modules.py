"""Packing a network and making it again: the same outputs to the last bit, or an error."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bimacosr.binarize.branches import SparseBranch
from bimacosr.binarize.convert import binarize
from bimacosr.binarize.methods.bimacosr import BiMaCoSRConv2d
from bimacosr.binarize.signs import binary_weight
from bimacosr.config.binarize import BinarizeSettings
from bimacosr.errors import ModelError
from bimacosr.networks.edge import EdgeNet
from bimacosr.pack.format import PackedModel, read_packed, write_packed
from bimacosr.pack.modules import FAMILIES, pack_network, rebuild_network
from tests.unit.pack.conftest import NETWORK, SETTINGS

Edit = Callable[[dict[str, Any]], Any]


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 12, 9, 7, generator=generator)
    lq = torch.rand(2, 3, 9, 7, generator=generator) * 2 - 1
    return x, torch.zeros(2), lq


def rounded(student: nn.Module) -> nn.Module:
    """`student` with the parameters that a packed file holds: half precision, one scale a row."""
    result = copy.deepcopy(student)
    for name, module in result.named_modules():
        for key, parameter in module.named_parameters(prefix=name, recurse=False):
            if isinstance(module, BiMaCoSRConv2d) and key.endswith(".weight"):
                scale = parameter.abs().mean((1, 2, 3), keepdim=True)
                parameter.copy_(parameter.sign() * scale.half().float())
            else:
                parameter.copy_(parameter.half().float())
    return result


def test_rebuilt_network_equals_the_rounded_student_bit_for_bit(
    student: nn.Module, packed: PackedModel
) -> None:
    ours, wanted = rebuild_network(packed)(*inputs()), rounded(student)(*inputs())
    assert torch.equal(ours, wanted)
    assert wanted.std() > 0.1
    assert not torch.equal(student(*inputs()), wanted)


def test_packing_it_again_gives_the_same_model(packed: PackedModel) -> None:
    again = pack_again(rebuild_network(packed))
    assert again.tensors.keys() == packed.tensors.keys()
    for name, array in packed.tensors.items():
        assert again.tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(again.tensors[name], array, err_msg=name)
    assert dataclasses.replace(again, tensors={}) == dataclasses.replace(packed, tensors={})


def pack_again(network: nn.Module) -> PackedModel:
    return pack_network(
        network,
        name="small",
        family="edge",
        network=dict(NETWORK),
        binarize_settings=SETTINGS,
        diffusion={"kappa": 0.0, "predict_type": "residual"},
        license_name="Apache-2.0",
        extra={"steps": 7},
    )


def test_through_a_file_it_is_the_same_network(packed: PackedModel, tmp_path: Path) -> None:
    write_packed(tmp_path / "model.safetensors", packed)
    found = rebuild_network(read_packed(tmp_path / "model.safetensors"))
    assert torch.equal(found(*inputs()), rebuild_network(packed)(*inputs()))


def test_it_is_ready_to_run_and_not_to_train(packed: PackedModel) -> None:
    network = rebuild_network(packed)
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert {p.device.type for p in network.parameters()} == {"cpu"}


def test_arrays_are_those_of_the_specification(packed: PackedModel) -> None:
    expected = {
        "first.weight": ("float16", (70, 15, 3, 3)),
        "first.bias": ("float16", (70,)),
        "last.weight": ("float16", (12, 70, 3, 3)),
        "last.bias": ("float16", (12,)),
    }
    for block in ("body.0.", "body.1."):
        expected |= {
            block + "shift": ("float16", (70, 1, 1)),
            block + "act.weight": ("float16", (70,)),
            block + "gain": ("float16", (70, 1, 1)),
            block + "conv.signs": ("uint64", (70, 9, 2)),
            block + "conv.scale": ("float16", (70,)),
            block + "conv.bias": ("float16", (70,)),
            block + "conv.relu.pr_bias0.bias": ("float16", (1, 70)),
            block + "conv.relu.pr_prelu.weight": ("float16", (70,)),
            block + "conv.relu.pr_bias1.bias": ("float16", (1, 70)),
            block + "conv.lora.A.weight": ("float16", (3, 70, 1, 1)),
            block + "conv.lora.B.weight": ("float16", (70, 3, 1, 1)),
            block + "conv.skip_connection.indices": ("uint16", (2, 140)),
            block + "conv.skip_connection.values": ("float16", (140,)),
        }
    assert {k: (str(v.dtype), v.shape) for k, v in packed.tensors.items()} == expected


def test_packing_leaves_the_student_alone(student: nn.Module, packed: PackedModel) -> None:
    assert packed.name == "small"
    assert student(*inputs()).std() > 0.1
    packed.tensors["first.weight"][:] = 0
    assert student.get_submodule("first").weight.abs().sum() > 0


@pytest.mark.parametrize("branches", [(True, False), (False, True), (False, False)])
def test_models_without_branches(branches: tuple[bool, bool]) -> None:
    torch.manual_seed(6)  # a weight drawn as exactly 0, about one in 2^24, cannot be packed
    low_rank, sparse = branches
    settings = dataclasses.replace(SETTINGS, low_rank=low_rank, sparse=sparse)
    student = binarize(EdgeNet(**NETWORK), settings).requires_grad_(False)
    student.get_submodule("last").weight.normal_()
    model = pack_network(
        student,
        name="small",
        family="edge",
        network=NETWORK,
        binarize_settings=settings,
        diffusion={"kappa": 0.0, "predict_type": "residual"},
        license_name="Apache-2.0",
    )
    assert any(".lora." in name for name in model.tensors) == low_rank
    assert any(".skip_connection." in name for name in model.tensors) == sparse
    assert torch.equal(rebuild_network(model)(*inputs()), rounded(student)(*inputs()))


def test_exact_zeros_are_kept(student: nn.Module, tmp_path: Path) -> None:
    holed = copy.deepcopy(student)
    weight = holed.get_submodule("body.1.conv").weight
    weight[3, 2, 1, 0] = weight[3, 60] = weight[69, 69, 2, 2] = 0
    weight[7] = 0
    model = pack_again(holed)
    assert model.tensors["body.1.conv.zeros"].size == 1 + 9 + 1 + 630
    assert "body.0.conv.zeros" not in model.tensors
    write_packed(tmp_path / "holed", model)
    found = rebuild_network(read_packed(tmp_path / "holed"))
    wanted = rounded(holed).get_submodule("body.1.conv").weight
    ours = binary_weight(found.get_submodule("body.1.conv").weight)
    assert torch.equal(ours == 0, weight == 0)
    torch.testing.assert_close(ours, wanted, rtol=1e-6, atol=0)


class TestRefusedPacking:
    def test_a_weight_that_is_no_number(self, student: nn.Module) -> None:
        broken = copy.deepcopy(student)
        broken.get_submodule("body.1.conv").weight[3, 2, 1, 0] = torch.nan
        with pytest.raises(ModelError, match=r"the 1-bit layer body\.1\.conv holds NaN"):
            pack_again(broken)

    def test_weights_too_small_for_half_precision(self, student: nn.Module) -> None:
        broken = copy.deepcopy(student)
        broken.get_submodule("body.1.conv").weight[3] = 1e-9
        with pytest.raises(ModelError, match=r"the 1-bit layer body\.1\.conv are too small"):
            pack_again(broken)

    def test_a_step_of_a_network_without_embedding(self, student: nn.Module) -> None:
        with pytest.raises(ModelError, match="EdgeNet has no time embedding"):
            pack_network(
                student,
                name="small",
                family="edge",
                network=dict(NETWORK),
                binarize_settings=SETTINGS,
                diffusion={},
                license_name="Apache-2.0",
                step=14,
            )

    @pytest.mark.parametrize("value", [7e4, float("inf"), float("nan")])
    def test_a_number_beyond_half_precision(self, student: nn.Module, value: float) -> None:
        broken = copy.deepcopy(student)
        broken.get_submodule("body.0").gain[0] = value
        with pytest.raises(ModelError, match=r"body\.0\.gain holds a number that does not fit"):
            pack_again(broken)


class TestRefusedModels:
    def test_unknown_family(self, packed: PackedModel) -> None:
        message = (
            "is of family 'giant', which this version does not know .it knows edge, swin.; update"
        )
        with pytest.raises(ModelError, match=message):
            rebuild_network(dataclasses.replace(packed, family="giant"))
        assert list(FAMILIES) == ["edge", "swin"]

    @pytest.mark.parametrize(
        ("edit", "told"),
        [
            (lambda t: t.pop("last.bias"), "last.bias is missing"),
            (lambda t: t.pop("body.0.conv.signs"), "body.0.conv.signs is missing"),
            (lambda t: t.pop("body.0.conv.scale"), "body.0.conv.scale is missing"),
            (lambda t: t.update(more=np.zeros(1)), "the network has no more"),
            (
                lambda t: t.update({"last.signs": t["body.0.conv.signs"]}),
                "the network has no last.signs",
            ),
            (
                lambda t: t.update({"first.bias": t["first.bias"][:-1]}),
                "first.bias is float16 (69,), not float16 (70,)",
            ),
            (
                lambda t: t.update({"first.bias": t["first.bias"].astype(np.float64)}),
                "first.bias is float64 (70,), not float16 (70,)",
            ),
            (
                lambda t: t.update({"body.1.conv.scale": t["body.1.conv.scale"][:1]}),
                "body.1.conv.scale is float16 (1,), not float16 (70,)",
            ),
            (
                lambda t: t.update({"body.1.conv.signs": t["body.1.conv.signs"][..., :1]}),
                "body.1.conv.signs is uint64 (70, 9, 1), not uint64 (70, 9, 2)",
            ),
            (
                lambda t: t.update(
                    {"body.1.conv.signs": np.concatenate([t["body.1.conv.signs"]] * 2, 2)}
                ),
                "body.1.conv.signs is uint64 (70, 9, 4), not uint64 (70, 9, 2)",
            ),
            (
                lambda t: t["body.0.conv.signs"].__setitem__((3, 2, 1), 1 << 6),
                "body.0.conv.signs has bits beyond channel 70",
            ),
            (
                lambda t: t["body.0.conv.scale"].__setitem__(5, -0.5),
                "body.0.conv.scale holds a number below 0",
            ),
            (
                lambda t: t["body.0.gain"].__setitem__((5, 0, 0), np.nan),
                "body.0.gain holds NaN or infinity",
            ),
            (
                lambda t: t.update({"body.0.conv.zeros": np.array([5, 5], np.uint32)}),
                "body.0.conv.zeros are not ascending places below 44100",
            ),
            (
                lambda t: t.update({"body.0.conv.zeros": np.array([44100], np.uint32)}),
                "body.0.conv.zeros are not ascending places below 44100",
            ),
            (
                lambda t: t["body.0.conv.skip_connection.indices"].__setitem__((0, 5), 70),
                "body.0.conv.skip_connection.indices point outside",
            ),
            (
                lambda t: t["body.0.conv.skip_connection.indices"].__setitem__((1, 5), 65535),
                "body.0.conv.skip_connection.indices point outside",
            ),
        ],
    )
    def test_arrays_that_do_not_fit(self, packed: PackedModel, edit: Edit, told: str) -> None:
        tensors = {name: array.copy() for name, array in packed.tensors.items()}
        edit(tensors)
        message = f"'small' is damaged: its arrays do not fit its settings .*{re.escape(told)}"
        with pytest.raises(ModelError, match=message):
            rebuild_network(dataclasses.replace(packed, tensors=tensors))

    @pytest.mark.parametrize(
        "network",
        [
            {},
            {"channels": 64},
            {**NETWORK, "channels": 69},
            {**NETWORK, "channels": 70.5},
            {**NETWORK, "channels": "70"},
            {**NETWORK, "channels": None},
            {**NETWORK, "channels": 10**9},
            {**NETWORK, "channels": 10**400},
            {**NETWORK, "channels": -70},
            {**NETWORK, "blocks": 10**12},
            {**NETWORK, "blocks": 3},
            {**NETWORK, "blocks": 0},
            {**NETWORK, "scale": 4},
            {**NETWORK, "scale": 10**6},
            {**NETWORK, "width": 3},
        ],
    )
    def test_settings_of_the_network(self, packed: PackedModel, network: dict[str, Any]) -> None:
        with pytest.raises(ModelError, match="its arrays do not fit its settings"):
            rebuild_network(dataclasses.replace(packed, network=network))

    @pytest.mark.parametrize(
        "change",
        [
            {"rank": 4},
            {"rank": "3"},
            {"rank": 10**30},
            {"rank": -1},
            {"sparse": False},
            {"low_rank": False},
            {"method": "xnor"},
            {"method": ["bimacosr"]},
            {"sign_of_zero": 2},
            {"sign_gradient": "steep"},
            {"keep_float_conv": []},
            {"keep_float_conv": None},
            {"keep_float_conv": ["first"]},
            {"keep_float_conv": [{"keywords": [1], "max_parameters": 9}]},
            {"keep_float_conv": [{"keywords": ["first", "last"], "max_parameters": "all"}]},
            {"unknown": 1},
        ],
    )
    def test_settings_of_the_binarization(
        self, packed: PackedModel, change: dict[str, Any]
    ) -> None:
        with pytest.raises(ModelError, match="its arrays do not fit its settings"):
            rebuild_network(dataclasses.replace(packed, binarize=packed.binarize | change))

    def test_a_list_of_layers_of_another_network(self, packed: PackedModel) -> None:
        one_bit = packed.one_bit | {"body.0.conv": [70, 70, 1, 1]}
        with pytest.raises(ModelError, match="its list of 1-bit layers is another network's"):
            rebuild_network(dataclasses.replace(packed, one_bit=one_bit))

    def test_a_folded_step_without_embedding(self, packed: PackedModel) -> None:
        with pytest.raises(ModelError, match="EdgeNet has no time embedding"):
            rebuild_network(dataclasses.replace(packed, step=14))

    def test_a_missing_list_of_rules(self, packed: PackedModel) -> None:
        settings = dict(packed.binarize)
        del settings["keep_float_linear"]
        with pytest.raises(ModelError, match="keep_float_linear"):
            rebuild_network(dataclasses.replace(packed, binarize=settings))


def test_the_sparse_branch_is_where_it_was(student: nn.Module, packed: PackedModel) -> None:
    found = rebuild_network(packed)
    for name, branch in student.named_modules():
        if isinstance(branch, SparseBranch):
            other = found.get_submodule(name)
            assert torch.equal(other.indices_float, branch.indices_float)
            assert torch.equal(other.values, branch.values.half().float())


def test_default_settings_round_trip_through_json(tmp_path: Path) -> None:
    settings = BinarizeSettings(keep_float_conv=SETTINGS.keep_float_conv)
    student = binarize(EdgeNet(16, 1, 2), settings)
    model = pack_network(
        student,
        name="tiny",
        family="edge",
        network={"channels": 16, "blocks": 1, "scale": 2},
        binarize_settings=settings,
        diffusion={"kappa": 2.0, "predict_type": "residual"},
        license_name="CC0-1.0",
    )
    write_packed(tmp_path / "tiny", model)
    assert rebuild_network(read_packed(tmp_path / "tiny")).body[0].conv.of_zero == 0
