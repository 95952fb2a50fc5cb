"""Official configurations: what they may name, and what is said about the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bimacosr.checkpoints.official import OfficialConfig, read_config, read_degradation
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.diffusion import DistillSettings
from bimacosr.config.networks import vq_f4
from bimacosr.errors import OptionError

Tree = dict[str, Any]


@pytest.fixture
def tree() -> Tree:
    """The least that is a configuration."""
    return {
        "model": {"target": "models.unet.UNetModelSwin", "params": {"image_size": 64}},
        "diffusion": {
            "target": "models.script_util.create_gaussian_diffusion",
            "params": {"sf": 4},
        },
    }


def read(folder: Path, tree: Tree) -> OfficialConfig:
    path = folder / "a.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return read_config(path)


def quantized(tree: Tree, **change: Any) -> Tree:
    branches = {"rank": 4, "if_LRMB": True, "if_SMB": False}
    tree["model"]["target"] = "models.quant_unet.UNetModelSwinQuant"
    tree["model"]["params"] |= {
        "conv_quant_modules": "BinaryConv2d_ours_with_skip_and_lora",
        "conv_quant_config": branches,
        "linear_quant_modules": "BinaryLinear_ours_with_skip_and_lora",
        "linear_quant_config": dict(branches),
        "which_fp_conv": [{"skip_keywords": ["out.2"], "param_threshold": 0.2}],
    } | change
    return tree


def test_the_least(tmp_path: Path, tree: Tree) -> None:
    config = read(tmp_path, tree)
    assert config.scale == 4
    assert config.unknown == ()
    assert (config.binarize, config.distill, config.autoencoder) == (None, None, None)
    assert (config.train, config.degradation, config.training_data) == (None, None, None)


@pytest.mark.parametrize(
    ("place", "known"),
    [
        ("model", "models.unet.UNetModelSwin"),
        ("diffusion", "models.script_util.create_gaussian_diffusion"),
        ("autoencoder", "ldm.models.autoencoder.VQModelTorch"),
        ("trainer", "trainer.TrainerDifIR"),
    ],
)
@pytest.mark.parametrize("target", ["os.system", "subprocess.run", "models.unet.UNetModel"])
def test_only_listed_targets(
    tmp_path: Path, tree: Tree, place: str, known: str, target: str
) -> None:
    tree.setdefault(place, {})["target"] = target
    with pytest.raises(OptionError, match=f"{place}.target is '{target}'.* it knows {known}"):
        read(tmp_path, tree)


def test_a_missing_target(tmp_path: Path, tree: Tree) -> None:
    del tree["model"]["target"]
    with pytest.raises(OptionError, match=r"a\.yaml cannot be used: model\.target is missing"):
        read(tmp_path, tree)


@pytest.mark.parametrize(
    ("key", "value"),
    [("dropout", 0.1), ("dims", 3), ("resblock_updown", True), ("cond_lq", False)],
)
def test_what_our_network_does_not_have(
    tmp_path: Path, tree: Tree, key: str, value: object
) -> None:
    tree["model"]["params"][key] = value
    with pytest.raises(OptionError, match=f"model.params.{key} is {value}; bimacosr has only"):
        read(tmp_path, tree)


def test_a_value_out_of_its_range(tmp_path: Path, tree: Tree) -> None:
    tree["diffusion"]["params"]["steps"] = 1
    with pytest.raises(OptionError, match=r"a\.yaml cannot be used: .*steps is 1; it must be"):
        read(tmp_path, tree)


def test_unknown_settings_are_reported(tmp_path: Path, tree: Tree) -> None:
    tree["model"]["params"]["flash"] = True
    tree["lora"] = {"rank": 3}
    quantized(tree)["model"]["params"]["which_fp_conv"][0]["note"] = "x"
    assert read(tmp_path, tree).unknown == (
        "model.params.flash",
        "model.params.which_fp_conv.0.note",
        "lora",
    )


class TestBinarization:
    def test_rank_and_branches(self, tmp_path: Path, tree: Tree) -> None:
        rule = KeepFloatRule(keywords=("out.2",), max_parameters=200_000)
        assert read(tmp_path, quantized(tree)).binarize == BinarizeSettings(
            rank=4, sparse=False, keep_float_conv=(rule,)
        )

    @pytest.mark.parametrize("name", ["XNOR", "HORQ", "ReSTE", "reactnet", "BBCU", "BiDM"])
    def test_every_method(self, tmp_path: Path, tree: Tree, name: str) -> None:
        change = {
            "conv_quant_modules": f"BinaryConv2d_{name}",
            "linear_quant_modules": f"BinaryLinear_{name}",
            "conv_quant_config": {},
            "linear_quant_config": {},
        }
        config = read(tmp_path, quantized(tree, **change))
        assert config.binarize is not None
        assert config.binarize.method == name.lower()
        assert config.unknown == ()

    def test_branches_of_a_method_without_them_are_reported(
        self, tmp_path: Path, tree: Tree
    ) -> None:
        names = {"conv_quant_modules": "BinaryConv2d_XNOR"}
        names |= {"linear_quant_modules": "BinaryLinear_XNOR"}
        unknown = read(tmp_path, quantized(tree, **names)).unknown
        assert "model.params.conv_quant_config.rank" in unknown

    def test_convolutions_alone(self, tmp_path: Path, tree: Tree) -> None:
        config = read(tmp_path, quantized(tree, binary_linear=False))
        assert config.binarize is not None
        assert config.binarize.linear is False

    @pytest.mark.parametrize(
        "change",
        [
            {"linear_quant_modules": "BinaryLinear_XNOR"},
            {"linear_quant_config": {"rank": 8, "if_LRMB": True, "if_SMB": False}},
        ],
    )
    def test_two_ways_at_once(self, tmp_path: Path, tree: Tree, change: Tree) -> None:
        with pytest.raises(OptionError, match="in two ways"):
            read(tmp_path, quantized(tree, **change))

    def test_an_unknown_method_is_never_float(self, tmp_path: Path, tree: Tree) -> None:
        change = {"conv_quant_modules": "BinaryConv2d_Magic"}
        with pytest.raises(OptionError, match=r"'BinaryConv2d_Magic', which .* BinaryConv2d_XNOR"):
            read(tmp_path, quantized(tree, **change))

    def test_another_class_for_layers_kept(self, tmp_path: Path, tree: Tree) -> None:
        tree = quantized(tree)
        tree["model"]["params"]["which_fp_conv"][0]["use_for_fp"] = "BinaryConv2d_XNOR"
        with pytest.raises(OptionError, match=r"use_for_fp is .* has only 'nn\.Conv2d'"):
            read(tmp_path, tree)


class TestDistillation:
    TERMS: Tree = {  # noqa: RUF012
        "distill_ddpm": True,
        "learn_xT": True,
        "finetune_use_gt": 0.5,
        "xT_cov_loss": 2,
        "uncertainty_hyper": 0.25,
        "uncertainty_num_aux": 3,
        "loss_in_image_space": True,
    }

    def test_every_term(self, tmp_path: Path, tree: Tree) -> None:
        tree["model"]["teacher_ckpt_path"] = "teacher.pth"
        config = read(tmp_path, tree | {"train": self.TERMS})
        assert config.distill == DistillSettings(
            teacher="ancestral",
            learn_inverse=True,
            truth_weight=0.5,
            covariance_weight=2.0,
            uncertainty=0.25,
            uncertainty_answers=3,
            in_image_space=True,
        )
        assert config.unknown == ()
        assert config.checkpoints.teacher == "teacher.pth"

    def test_terms_without_a_teacher_are_reported(self, tmp_path: Path, tree: Tree) -> None:
        config = read(tmp_path, tree | {"train": self.TERMS})
        assert config.distill is None
        assert config.unknown == tuple(f"train.{key}" for key in self.TERMS)


class TestCondition:
    def test_its_channels_are_counted(self, tmp_path: Path, tree: Tree) -> None:
        tree["model"]["params"] |= {"in_channels": 3, "lq_size": 256, "cond_mask": True}
        config = read(tmp_path, tree)
        assert config.unet.in_channels == 3 + 64
        assert config.condition.mask

    @pytest.mark.parametrize("size", [32, 100, 192])
    def test_sizes_that_cannot_be(self, tmp_path: Path, tree: Tree, size: int) -> None:
        tree["model"]["params"]["lq_size"] = size
        with pytest.raises(OptionError, match=rf"lq_size is {size}; it must be 64 \(image_size\)"):
            read(tmp_path, tree)


class TestOtherParts:
    def test_autoencoder(self, tmp_path: Path, tree: Tree) -> None:
        tree["autoencoder"] = {"target": "ldm.models.autoencoder.VQModelTorch", "ckpt_path": "a"}
        config = read(tmp_path, tree)
        assert config.autoencoder == vq_f4()
        assert config.checkpoints.autoencoder == "a"

    def test_an_unknown_data_set(self, tmp_path: Path, tree: Tree) -> None:
        tree["data"] = {"train": {"type": "imagenet", "params": {}}}
        with pytest.raises(OptionError, match=r"data\.train\.type is 'imagenet'.*realesrgan"):
            read(tmp_path, tree)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"lr": 0}, "lr is 0; it must be above 0"),
            ({"batch": [8]}, "batch is .* two numbers"),
            ({"ema_rate": 2}, "ema_rate is 2; it must be from 0 to 1"),
        ],
    )
    def test_impossible_trainings(
        self, tmp_path: Path, tree: Tree, change: Tree, told: str
    ) -> None:
        with pytest.raises(OptionError, match=told):
            read(tmp_path, tree | {"train": change})

    def test_a_degradation_alone_is_no_network(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="describes a degradation alone"):
            read(tmp_path, {"degradation": {"sf": 4}, "opts": {}})

    def test_a_degradation_that_lacks_something(self, tmp_path: Path) -> None:
        path = tmp_path / "a.yaml"
        path.write_text("degradation: {sf: 4}\nopts: {}\n")
        with pytest.raises(OptionError, match=r"a\.yaml cannot be used: .* is missing"):
            read_degradation(path)
