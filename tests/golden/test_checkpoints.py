"""Every form of the official checkpoints loads: each network, method, ablation and wrapping.

The full-size networks are proved by their keys (values that take no memory), the tiny ones by what
they compute after they went through a file.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bimacosr.binarize.convert import binarize
from bimacosr.checkpoints.detect import (
    detect_autoencoder,
    detect_binarization,
    detect_unet,
    kind_of,
    methods_of,
)
from bimacosr.checkpoints.keys import binary_layers, float_layers
from bimacosr.checkpoints.load import assemble_unet, load_autoencoder, load_unet
from bimacosr.checkpoints.read import read_state
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.networks import realsrx4_unet, vq_f4
from bimacosr.errors import ModelError
from bimacosr.networks.unet import build_unet
from bimacosr.networks.vq import build_autoencoder
from tests.golden import reference as ref

OFFICIAL = BinarizeSettings(
    keep_float_conv=(KeepFloatRule(keywords=("input_blocks.0.0", "out.2")),),
)
ABLATIONS: dict[str, dict[str, Any]] = {
    "ours_r8": {},
    "ours_r4": {"rank": 4},
    "ours_SMB_only": {"low_rank": False},
    "ours_LRMB_only": {"sparse": False},
    "ours_LRMB_only_r4": {"sparse": False, "rank": 4},
    "ours_none": {"sparse": False, "low_rank": False},
}
WITHOUT_MARKS = ("XNOR", "HORQ", "ReSTE")
METHODS = (*WITHOUT_MARKS, "ReActNet", "BBCU", "BiDM")

Keys = dict[str, list[Any]]


def state_of(keys: Keys) -> dict[str, Tensor]:
    """Zeros of these shapes and types, which take no memory."""
    return {
        key: torch.zeros((), dtype=getattr(torch, kind)).expand(shape)
        for key, (shape, kind) in keys.items()
    }


@cache
def float_keys() -> Keys:
    keys: Keys = ref.meta("keys_unet_float")["keys"]
    return keys


def changed(keys: Keys, difference: dict[str, Any]) -> Keys:
    merged = keys | difference["changed_or_added"]
    return {key: value for key, value in merged.items() if key not in difference["removed"]}


def student_keys(ablation: str) -> Keys:
    told = ref.meta("keys_student")
    return told["ours_r8"] if ablation == "ours_r8" else changed(told["ours_r8"], told[ablation])


def method_keys(method: str) -> Keys:
    return changed(float_keys(), ref.meta("keys_student_methods")[method])


def kinds(network: nn.Module) -> Keys:
    return {
        key: [list(value.shape), str(value.dtype).removeprefix("torch.")]
        for key, value in network.state_dict().items()
    }


class TestKeysOfTheFullNetworks:
    def test_every_network_of_the_reference_is_tried(self) -> None:
        assert set(ref.meta("keys_student_methods")) - {"note"} == set(METHODS)
        listed = set(ref.meta("keys_student"))
        assert listed - {"note", "replaced_layers_in_module_order"} == set(ABLATIONS)

    def test_float(self) -> None:
        state = state_of(float_keys())
        assert kind_of(state) == "unet"
        assert detect_unet(state) == (realsrx4_unet(), None)
        assert kinds(assemble_unet(state).network) == float_keys()

    @pytest.mark.parametrize("ablation", ABLATIONS)
    def test_bimacosr(self, ablation: str) -> None:
        keys = student_keys(ablation)
        settings = replace(OFFICIAL, **ABLATIONS[ablation])
        assert detect_unet(state_of(keys)) == (realsrx4_unet(), settings)
        loaded = assemble_unet(state_of(keys))
        assert loaded.binarize == settings
        assert kinds(loaded.network) == keys

    def test_the_layers_that_show_are_those_replaced(self) -> None:
        replaced = ref.meta("keys_student")["replaced_layers_in_module_order"]
        state = state_of(student_keys("ours_r8"))
        assert len(replaced) == 178
        assert binary_layers(state) == set(replaced)
        assert float_layers(state) == ["input_blocks.0.0", "out.2"]

    @pytest.mark.parametrize("method", METHODS)
    def test_other_methods(self, method: str) -> None:
        state = state_of(method_keys(method))
        assert method.lower() in methods_of(state)
        settings = replace(OFFICIAL, method=method.lower())
        if method not in WITHOUT_MARKS:  # their layers show, so which stay float is seen
            assert detect_binarization(state, method.lower()) == settings
        loaded = assemble_unet(state, binarize=settings)
        assert loaded.settings == realsrx4_unet()
        assert kinds(loaded.network) == method_keys(method)

    def test_bidm_is_found_alone(self) -> None:
        found = assemble_unet(state_of(method_keys("BiDM"))).binarize
        assert found == replace(OFFICIAL, method="bidm")

    @pytest.mark.parametrize("method", ["ReActNet", "BBCU"])
    def test_equal_keys_are_not_guessed(self, method: str) -> None:
        with pytest.raises(ModelError, match="reactnet or bbcu, which have the same parameters"):
            assemble_unet(state_of(method_keys(method)))

    def test_autoencoder(self) -> None:
        state = state_of(ref.meta("keys_vq_f4")["keys"])
        assert kind_of(state) == "autoencoder"
        assert detect_autoencoder(state) == vq_f4()

    def test_later_versions_of_resshift(self) -> None:
        """Those with the same keys load; those with a feature extractor say what they are."""
        told = ref.meta("keys_resshift_v3_delta")["configs"]
        plain = []
        for name, difference in told.items():
            if "error" in difference:
                continue
            state = state_of(changed(float_keys(), difference))
            if not difference["changed_or_added"]:
                assert detect_unet(state) == (realsrx4_unet(), None)
                plain.append(name)
                continue
            with pytest.raises(ModelError, match="ResShift's later versions with a feature extr"):
                assemble_unet(state)
        assert len(plain) == 3


@cache
def tiny(kind: str) -> nn.Module:
    """A tiny network with the documented weights: float, C (student), or a method's name."""
    network: nn.Module = build_unet(ref.unet_settings(ref.meta("unet_fp_tiny")["config"]))
    if kind == "float":
        ref.fill(network, seed=0)
        return network.eval()
    method = "bimacosr" if kind == "C" else kind
    network = binarize(network, replace(OFFICIAL, method=method))
    ref.fill(network, seed=2, style="margin" if kind == "C" else "plain")
    return network.eval()


def run(network: nn.Module, golden: str, name: str) -> Tensor:
    told = ref.meta(golden)
    runs = told["states"]["C"]["runs"] if "states" in told else told["runs"]
    shape = (runs[name]["batch"], 3, runs[name]["H"], runs[name]["W"])
    x = ref.normal(f"{golden}/{name}/x", shape, torch.float32)
    lq = ref.normal(f"{golden}/{name}/lq", shape, torch.float32, std=0.5)
    with torch.no_grad():
        out: Tensor = network(x, torch.tensor(runs[name]["timesteps"]), lq)
    return out


# The wrappings of `keys_checkpoint_forms.json`: what a trainer saves, by the name told there.
FORMS: dict[str, Any] = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": state},
    "trainer": lambda state: {
        "iters_start": 7,
        "log_step": {"train": 3, "val": 1},
        "log_step_img": {"train": 1, "val": 1},
        "state_dict": state,
    },
    "module.": lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}},
    "_orig_mod.": lambda state: {f"_orig_mod.{k}": v for k, v in state.items()},
    "module._orig_mod.": lambda state: {f"module._orig_mod.{k}": v for k, v in state.items()},
}


class TestThroughAFile:
    def test_the_forms_are_those_of_the_reference(self) -> None:
        told = ref.meta("keys_checkpoint_forms")
        saved = told["trainer model file (ckpts/model_<it>.pth)"]
        assert set(FORMS["trainer"]({})) == set(saved)
        prefixes = {key.removesuffix(" prefix") for key in told if key.endswith(" prefix")}
        assert prefixes <= set(FORMS)

    @pytest.mark.parametrize("form", FORMS)
    def test_every_wrapping(self, tmp_path: Path, form: str) -> None:
        torch.save(FORMS[form](tiny("float").state_dict()), tmp_path / "a.pth")
        loaded = load_unet(tmp_path / "a.pth")
        assert loaded.settings == ref.unet_settings(ref.meta("unet_fp_tiny")["config"])
        assert loaded.binarize is None
        ours = run(loaded.network, "unet_fp_tiny", "t14")
        assert ref.deviation(ours, ref.tensors("unet_fp_tiny")["t14/out"]) < ref.F32_NETWORK

    @pytest.mark.parametrize("name", ["t14", "t3_0", "rect"])
    def test_student_computes_the_golden(self, tmp_path: Path, name: str) -> None:
        torch.save(tiny("C").state_dict(), tmp_path / "ema.pth")
        loaded = load_unet(tmp_path / "ema.pth")
        assert loaded.binarize == OFFICIAL
        ours = run(loaded.network, "student_tiny", name)
        assert ref.deviation(ours, ref.tensors("student_tiny")[f"C/{name}/out"]) < ref.F32_NETWORK

    @pytest.mark.parametrize("method", [m.lower() for m in METHODS])
    def test_a_student_of_every_method(self, tmp_path: Path, method: str) -> None:
        torch.save({"state_dict": tiny(method).state_dict()}, tmp_path / "a.ckpt")
        settings = replace(OFFICIAL, method=method)
        loaded = load_unet(tmp_path / "a.ckpt", binarize=settings)
        ours = run(loaded.network, "unet_fp_tiny", "t14")
        assert torch.equal(ours, run(tiny(method), "unet_fp_tiny", "t14"))

    def test_autoencoder_computes_the_golden(self, tmp_path: Path) -> None:
        settings = ref.autoencoder_settings(ref.meta("vq_tiny")["config"])
        original = build_autoencoder(settings)
        ref.fill(original, seed=3)
        torch.save(original.state_dict(), tmp_path / "vq.pth")
        network = load_autoencoder(tmp_path / "vq.pth")
        assert detect_autoencoder(read_state(tmp_path / "vq.pth")) == settings
        name, told = next(iter(ref.meta("vq_tiny")["runs"].items()))
        picture = ref.uniform(
            f"vq_tiny/{name}/x", (told["B"], 3, told["H"], told["W"]), torch.float32
        )
        with torch.no_grad():
            latent = network.encode(picture)
        assert ref.deviation(latent, ref.tensors("vq_tiny")[f"{name}/latent"]) < ref.F32_NETWORK
