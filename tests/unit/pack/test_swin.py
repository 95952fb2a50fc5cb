"""Students of the paper family, of every method: packed, folded to one time step, made again."""

from __future__ import annotations

import copy
import dataclasses
import re
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bimacosr.binarize.convert import binarize, layers_to_replace
from bimacosr.binarize.registry import METHODS
from bimacosr.binarize.signs import binary_weight
from bimacosr.config.binarize import BinarizeSettings
from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.errors import ModelError
from bimacosr.networks.blocks import ResBlock
from bimacosr.networks.unet import UNetModelSwin, build_unet
from bimacosr.pack.families import COMPUTED
from bimacosr.pack.folding import is_folded_away, modulations_at
from bimacosr.pack.format import PackedModel
from bimacosr.pack.layers import packed_layers
from bimacosr.pack.modules import pack_network, rebuild_network
from tests import paper

STEP = 14


def settings_of(method: str) -> BinarizeSettings:
    return BinarizeSettings(method=method, rank=4, keep_float_conv=(paper.RULE,))


@cache
def drawn(method: str) -> UNetModelSwin:
    """A student whose every parameter is away from its initial value."""
    student = binarize(paper.unet(), settings_of(method)).eval().requires_grad_(False)
    torch.manual_seed(7)
    for name, parameter in student.named_parameters():
        if not name.endswith(".weight") or parameter.ndim == 1:
            parameter.add_(0.1 * torch.randn_like(parameter))
    return student


def packed(student: nn.Module, method: str, step: int | None = STEP, **told: Any) -> PackedModel:
    return pack_network(
        student,
        name="tiny",
        family="swin",
        network=asdict(paper.UNET),
        binarize_settings=dataclasses.replace(settings_of(method), **told),
        diffusion=asdict(DiffusionSettings()),
        license_name="CC0-1.0",
        step=step,
    )


def inputs(step: int = STEP) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 3, 16, 16, generator=generator)
    lq = torch.rand(2, 3, 16, 16, generator=generator) * 2 - 1
    return x, torch.full((2,), step), lq


def layers(method: str) -> list[str]:
    """The 1-bit layers that one step leaves."""
    names = layers_to_replace(build_unet(paper.UNET), settings_of(method))
    return [name for name in names if not is_folded_away(f"{name}.weight")]


def rounded(student: nn.Module, method: str) -> nn.Module:
    """`student` with the parameters that its packed file holds, but for the folded ones."""
    result = copy.deepcopy(student)
    binary = {f"{name}.weight" for name in layers(method)}
    for key, parameter in result.named_parameters():
        if is_folded_away(key):
            continue
        if key in binary:
            scale = parameter.abs().mean(tuple(range(1, parameter.ndim)), keepdim=True)
            parameter.copy_(parameter.sign() * scale.half().float())
        else:
            parameter.copy_(parameter.half().float())
    return result


@torch.no_grad()
@pytest.mark.parametrize("method", sorted(set(METHODS) - {"horq"}))
def test_it_is_the_rounded_student_bit_for_bit(method: str) -> None:
    student, model = drawn(method), packed(drawn(method), method)
    found, wanted = rebuild_network(model), rounded(student, method)
    ours, theirs = found.state_dict(), wanted.state_dict()
    used = {key for key in packed_layers(model).arrays if key in theirs}
    used |= {f"{name}.weight" for name in layers(method)}
    assert len(used) > 100
    for key in used:
        assert torch.equal(ours[key], theirs[key]), key
    found.load_state_dict(modulations_at(student, STEP), strict=False)  # not rounded
    alone = [part[:1] for part in inputs()]  # as `modulations_at` asks: sums in the same order
    out = found(*alone)
    assert torch.equal(out, wanted(*alone))
    assert out.std() > 0.1


@torch.no_grad()
def test_two_terms_of_horq_are_kept() -> None:
    student = drawn("horq")
    model = packed(student, "horq")
    found, by_numpy = rebuild_network(model), packed_layers(model).one_bit
    for name in layers("horq"):
        weight = found.get_submodule(name).weight
        np.testing.assert_array_equal(by_numpy[name].weight(), weight.numpy())
        ours = binary_weight(found.get_submodule(name).weight, 2)
        theirs = binary_weight(student.get_submodule(name).weight, 2)
        # four values a row, +-a +-b: each of a and b is rounded by up to 2^-11 of itself
        largest = theirs.flatten(1).abs().amax(1)
        assert bool(((ours - theirs).flatten(1).abs().amax(1) <= 2**-11 * largest).all())
        assert len(ours[0].unique()) == len(theirs[0].unique()) == 4
    assert {f"{name}.second_signs" for name in layers("horq")} < set(model.tensors)


def test_a_zero_has_no_two_terms() -> None:
    student = copy.deepcopy(drawn("horq"))
    student.middle_block[0].in_layers[2].weight[3, :2] = 0
    message = "18 weights of the 1-bit layer middle_block.0.in_layers.2 are exactly 0"
    with pytest.raises(ModelError, match=re.escape(message)):
        packed(student, "horq")


class TestTheTimeStep:
    def test_it_is_folded_within_half_precision(self) -> None:
        student = drawn("bimacosr")
        model = packed(student, "bimacosr")
        folded = {key for key in model.tensors if key.endswith(".emb_layers.modulation")}
        blocks = [name for name, block in student.named_modules() if isinstance(block, ResBlock)]
        assert folded == {f"{name}.emb_layers.modulation" for name in blocks}
        assert {key for key in model.tensors if is_folded_away(key)} == folded
        exact = modulations_at(student, STEP)
        other = modulations_at(student, 3)
        for key in folded:
            stored = torch.from_numpy(model.tensors[key].astype(np.float32))
            torch.testing.assert_close(stored, exact[key], rtol=5e-4, atol=1e-6)
            assert not torch.allclose(stored, other[key], rtol=1e-2)

    def test_another_step_changes_nothing(self) -> None:
        found = rebuild_network(packed(drawn("bimacosr"), "bimacosr"))
        assert torch.equal(found(*inputs()), found(*inputs(step=3)))

    def test_it_may_be_kept(self) -> None:
        student = drawn("bimacosr")
        model = packed(student, "bimacosr", step=None)
        assert "time_embed.0.signs" in model.tensors
        found = rebuild_network(model)
        first, second = found(*inputs()), found(*inputs(step=3))
        assert not torch.allclose(first, second, atol=1e-2)

    def test_it_may_be_only_added(self) -> None:
        settings = dataclasses.replace(paper.UNET, use_scale_shift_norm=False)
        student = binarize(build_unet(settings), settings_of("bimacosr")).eval()
        model = packed(student, "bimacosr")
        model = dataclasses.replace(model, network=asdict(settings))
        name = "middle_block.0.emb_layers.modulation"
        assert model.tensors[name].shape == (64,)
        assert rebuild_network(model)(*inputs()).isfinite().all()


class TestWhatIsLeftOut:
    def test_branches_of_strided_layers(self) -> None:
        names = {key for key in packed(drawn("bimacosr"), "bimacosr").tensors if ".op." in key}
        relu = ("pr_bias0.bias", "pr_bias1.bias", "pr_prelu.weight")
        assert names == {
            *(f"input_blocks.2.0.op.{leaf}" for leaf in ("signs", "scale", "bias")),
            *(f"input_blocks.2.0.op.relu.{leaf}" for leaf in relu),
        }

    @pytest.mark.parametrize("method", sorted(METHODS))
    def test_parameters_without_effect(self, method: str) -> None:
        names = set(packed(drawn(method), method).tensors)
        endings = {
            "bimacosr": (".move0.bias", ".channel_threshold"),
            "bidm": (".fliter_k.weight",),
        }
        assert not {n for n in names if n.endswith((*COMPUTED, *endings.get(method, ())))}
        kept = {"reactnet": ".move0.bias", "bbcu": ".move0.bias", "bidm": ".shortcut_scale"}
        if method in kept:
            assert any(name.endswith(kept[method]) for name in names)
            assert any(name.endswith(".channel_threshold") for name in names)

    def test_computed_buffers_are_there_again(self) -> None:
        found = rebuild_network(packed(drawn("bimacosr"), "bimacosr")).state_dict()
        wanted = drawn("bimacosr").state_dict()
        computed = [key for key in wanted if key.endswith(COMPUTED)]
        assert len(computed) > 4
        for key in computed:
            assert torch.equal(found[key], wanted[key]), key


@torch.no_grad()
@pytest.mark.parametrize("branch", ["low_rank", "sparse"])
def test_ablations_keep_exact_zeros(branch: str) -> None:
    """Without the low-rank branch, what the sparse branch took out leaves zeros behind."""
    settings = dataclasses.replace(settings_of("bimacosr"), low_rank=False, sparse=False)
    settings = dataclasses.replace(settings, **{branch: True})
    student = binarize(paper.unet(), settings).eval()
    model = packed(student, "bimacosr", low_rank=branch == "low_rank", sparse=branch == "sparse")
    holed = [name for name in model.tensors if name.endswith(".zeros")]
    assert bool(holed) == (branch == "sparse")
    found = rebuild_network(model)
    for name in holed:
        layer = name.removesuffix(".zeros")
        ours = binary_weight(found.get_submodule(layer).weight)
        theirs = binary_weight(student.get_submodule(layer).weight)
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=0)


HUGE = {
    "model_channels": 8192,
    "channel_mult": [1, 65],
    "num_res_blocks": [1, 17],
    "swin_depth": 10**9,
    "image_size": 1 << 20,
    "window_size": 4096,
    "mlp_ratio": 1e9,
}


class TestRefusedModels:
    @pytest.mark.parametrize(("name", "value"), HUGE.items())
    def test_absurd_sizes(self, name: str, value: Any) -> None:
        model = packed(drawn("bimacosr"), "bimacosr")
        network = {**model.network, "attention_resolutions": [], name: value}
        with pytest.raises(ModelError, match=f"do not fit its settings .*{name} is"):
            rebuild_network(dataclasses.replace(model, network=network))

    def test_absurdly_many_levels(self) -> None:
        model = packed(drawn("bimacosr"), "bimacosr")
        network = model.network | {
            "channel_mult": [1] * 9,
            "num_res_blocks": [1] * 9,
            "image_size": 512,
            "attention_resolutions": [],
        }
        with pytest.raises(ModelError, match="it has 9 levels, more than 8"):
            rebuild_network(dataclasses.replace(model, network=network))

    @pytest.mark.parametrize("method", ["xnor", "horq", "reactnet", "bidm"])
    def test_another_method(self, method: str) -> None:
        model = packed(drawn("bimacosr"), "bimacosr")
        binarize_settings = {**model.binarize, "method": method}
        with pytest.raises(ModelError, match="do not fit its settings"):
            rebuild_network(dataclasses.replace(model, binarize=binarize_settings))

    def test_a_kept_step_that_the_header_denies(self) -> None:
        model = packed(drawn("bimacosr"), "bimacosr", step=None)
        with pytest.raises(ModelError, match="its list of 1-bit layers is another network's"):
            rebuild_network(dataclasses.replace(model, step=STEP))
