"""What a name or a file is taken for, and that a model's file has the bytes that are counted."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from bimacosr.binarize.registry import METHODS
from bimacosr.costs.count import count
from bimacosr.costs.rules import total
from bimacosr.costs.subjects import PAPER_NETWORKS, inputs_of, open_subject
from bimacosr.errors import ModelError, OptionError
from bimacosr.models.catalogue import MODELS
from bimacosr.networks.edge import EdgeNet
from bimacosr.networks.unet import UNetModelSwin
from bimacosr.pack.format import read_packed
from tests.unit.costs.networks import tiny_student, tiny_unet, unet_inputs


def on_cpu(network: nn.Module) -> nn.Module:
    """The network with drawn numbers, which a reader of checkpoints would not refuse."""
    filled = copy.deepcopy(network).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(1)
    for name, tensor in filled.state_dict().items():
        if name.endswith("indices_float"):
            tensor.zero_()
        elif tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
        else:
            tensor.zero_()
    return filled


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_the_catalogue_has_the_bytes_of_its_arrays(name: str) -> None:
    subject = open_subject(name)
    assert isinstance(subject.network, EdgeNet)
    costs = count(subject.network, inputs_of(subject.network, 8, 8))
    arrays = read_packed(MODELS[name].path).tensors.values()
    assert total(costs).packed_bytes == sum(array.nbytes for array in arrays)
    assert subject.file_bytes == MODELS[name].path.stat().st_size
    float_costs = count(subject.original, inputs_of(subject.original, 8, 8))
    assert not any(cost.one_bit for cost in float_costs)
    assert total(float_costs).float_macs > total(costs).float_macs


def test_a_packed_file_is_counted_as_the_model_it_is() -> None:
    path = MODELS["edge-x4"].path
    by_file, by_name = open_subject(str(path)), open_subject("edge-x4")
    inputs = inputs_of(by_name.network, 8, 12)
    assert count(by_file.network, inputs) == count(by_name.network, inputs)


@pytest.mark.parametrize("name", ["resshift", "sinsr", "bimacosr-student", "xnor-student"])
def test_the_networks_of_the_paper_have_no_numbers(name: str) -> None:
    subject = open_subject(name)
    assert isinstance(subject.network, UNetModelSwin)
    assert {p.device.type for p in subject.network.parameters()} == {"meta"}
    assert subject.file_bytes is None
    assert (subject.original is subject.network) == (name in ("resshift", "sinsr"))


def test_every_method_has_a_student() -> None:
    students = set(PAPER_NETWORKS) - {"resshift", "sinsr"}
    assert students == {f"{method}-student" for method in METHODS}
    for name in students:
        settings = PAPER_NETWORKS[name]
        assert settings is not None
        assert name == f"{settings.method}-student"


def test_a_latent_has_the_size_of_the_picture() -> None:
    inputs = inputs_of(tiny_unet(), 16, 32)
    assert [tuple(x.shape) for x in inputs] == [(1, 3, 16, 32), (1,), (1, 3, 16, 32)]
    assert all(x.device.type == "meta" for x in inputs)
    latent, _, lq = inputs_of(EdgeNet(8, 1, 2), 5, 7)
    assert (tuple(latent.shape), tuple(lq.shape)) == ((1, 12, 5, 7), (1, 3, 5, 7))


class TestErrors:
    @pytest.mark.parametrize("name", ["edge-x5", "missing.pth", "a\0b", ""])
    def test_no_such_model(self, name: str) -> None:
        with pytest.raises(ModelError):
            open_subject(name)

    def test_the_names_are_told(self) -> None:
        message = "there is no model 'x': give one of edge-x4, .*resshift, sinsr, .*bidm-student, "
        message += "a packed model or a checkpoint file$"
        with pytest.raises(ModelError, match=message):
            open_subject("x")

    @pytest.mark.parametrize(("height", "width"), [(0, 8), (8, 0), (-8, 8)])
    def test_a_size_of_nothing(self, height: int, width: int) -> None:
        message = re.escape(f"the size is {height}x{width}; both sides must be at least 1")
        with pytest.raises(OptionError, match=message):
            inputs_of(tiny_unet(), height, width)

    def test_another_network(self) -> None:
        with pytest.raises(ModelError, match="a Linear cannot be counted"):
            inputs_of(nn.Linear(2, 2), 8, 8)


@pytest.mark.parametrize("kind", ["float", "bimacosr", "bidm"])
def test_a_checkpoint_is_counted_as_its_network(kind: str, tmp_path: Path) -> None:
    network = tiny_unet() if kind == "float" else tiny_student(kind)
    path = tmp_path / "checkpoint.pth"
    torch.save({"state_dict": on_cpu(network).state_dict()}, path)
    subject = open_subject(str(path))
    assert subject.file_bytes == path.stat().st_size
    assert {p.device.type for p in subject.network.parameters()} == {"meta"}
    assert count(subject.network, unet_inputs()) == count(network, unet_inputs())
    assert count(subject.original, unet_inputs()) == count(tiny_unet(), unet_inputs())
