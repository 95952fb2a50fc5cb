"""The paper family through the same loop: a tiny Swin-UNet in the latent of a tiny VQ-f4."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from bimacosr.binarize.signs import binary_weight
from bimacosr.config.networks import AutoencoderSettings, UNetSettings
from bimacosr.config.train import TrainRecipe
from bimacosr.errors import ModelError, OptionError
from bimacosr.networks.unet import build_unet
from bimacosr.networks.vq import build_autoencoder
from bimacosr.pack.modules import rebuild_network
from bimacosr.train.build import build_stage
from bimacosr.train.checkpoint import newest_checkpoint
from bimacosr.train.export import packed_student
from bimacosr.train.recipe import plain_values
from bimacosr.train.run import run_training
from bimacosr.train.weights import open_weights
from tests.train.conftest import MakeRecipe

UNET = UNetSettings(
    image_size=8,
    model_channels=32,
    channel_mult=(1, 2),
    num_res_blocks=(1, 1),
    attention_resolutions=(8, 4),
    swin_embed_dim=32,
    window_size=4,
    mlp_ratio=2.0,
)
VQ = AutoencoderSettings(channels=32, channel_mult=(1, 1, 1), num_res_blocks=1, n_embed=16)
SINSR = {"learn_inverse": True, "truth_weight": 1.0}

Make = Callable[..., TrainRecipe]


@pytest.fixture
def paper(recipe: MakeRecipe, photos: Path, tmp_path: Path) -> Make:
    """`paper("teacher")`: a recipe of the paper family."""
    torch.manual_seed(0)
    torch.save(build_autoencoder(VQ).state_dict(), tmp_path / "vq.pth")

    def make(stage: str, **changes: Any) -> TrainRecipe:
        model = {
            "family": "paper",
            "unet": plain_values(asdict(UNET)),
            "autoencoder": plain_values(asdict(VQ)),
            "autoencoder_file": str(tmp_path / "vq.pth"),
        }
        settings: dict[str, Any] = {
            "model": model,
            "diffusion": {"steps": 3},
            "data": {"sources": [str(photos)], "patch": 8, "low_quality": "bicubic"},
            "binarize": {"keep_float_conv": [{"keywords": ["input_blocks.0.0", "out.2"]}]},
            "batch": 2,
            "phases": [{"steps": 2, "learning_rate": 1e-3, "warmup": 1}],
        }
        return recipe(stage, **(settings | changes))

    return make


def test_all_stages_and_the_packed_file(paper: Make, tmp_path: Path) -> None:
    teacher, student, last = (str(tmp_path / name) for name in ("teacher", "student", "one-bit"))
    assert run_training(paper("teacher"), Path(teacher)).finished
    phases = [{"steps": 2, "learning_rate": 1e-3, "weights": {"latent": 1, "l1": 0.1}}]
    run_training(paper("distill", teacher=teacher, distill=SINSR, phases=phases), Path(student))
    run_training(paper("binarize", teacher=teacher, start=student), Path(last))
    weights = open_weights(last)
    model = packed_student(weights, name="tiny", license_name="CC0-1.0")
    assert (model.family, model.step) == ("swin", 2)
    packed = rebuild_network(model).state_dict()
    assert model.one_bit
    for layer in model.one_bit:
        expected = binary_weight(weights.state[f"{layer}.weight"])
        torch.testing.assert_close(packed[f"{layer}.weight"], expected, rtol=1e-3, atol=1e-5)


def test_resume_is_exact(paper: Make, tmp_path: Path) -> None:
    run_training(paper("teacher"), tmp_path / "whole")
    for _ in range(2):
        run_training(paper("teacher"), tmp_path / "parts", resume="auto", max_minutes=0)
    ends = [newest_checkpoint(tmp_path / name) for name in ("whole", "parts")]
    one, other = (end[1]["network"] for end in ends if end is not None)
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def test_official_weights_are_teacher_and_start(paper: Make, tmp_path: Path) -> None:
    torch.manual_seed(1)
    file = tmp_path / "official.pth"
    torch.save({"state_dict": build_unet(UNET).state_dict()}, file)
    settings = paper("binarize", teacher=str(file), start=str(file))
    assert run_training(settings, tmp_path / "run").finished


@pytest.mark.parametrize("missing", ["autoencoder_file", "unet"])
def test_what_is_missing_is_said(paper: Make, tmp_path: Path, missing: str) -> None:
    recipe = paper("teacher")
    if missing == "autoencoder_file":
        model = {"family": "paper", "unet": plain_values(asdict(UNET))}
        with pytest.raises(OptionError, match="--autoencoder"):
            build_stage(paper("teacher", model=model), tmp_path, torch.device("cpu"))
    else:
        (tmp_path / "vq.pth").write_bytes(b"nothing of the kind")
        with pytest.raises(ModelError, match=r"vq\.pth is no checkpoint"):
            build_stage(recipe, tmp_path, torch.device("cpu"))


def test_a_patch_that_the_windows_do_not_fit(paper: Make, photos: Path) -> None:
    with pytest.raises(OptionError, match=r"patch is 10; .* a multiple of 8"):
        paper("teacher", data={"sources": [str(photos)], "patch": 10, "low_quality": "bicubic"})
