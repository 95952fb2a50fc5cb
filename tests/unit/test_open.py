"""From files of the paper family to a backend: what is found out, told, assumed and refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import bimacosr
from bimacosr.config.networks import AutoencoderSettings
from bimacosr.diffusion.samplers import ancestral, deterministic, one_step
from bimacosr.errors import ModelError, OptionError
from bimacosr.networks.vq import build_autoencoder
from bimacosr.reference.latent import LatentBackend
from bimacosr.tiling import Official
from tests import paper

CONFIG = """
{trainer}model:
  target: models.unet.UNetModelSwin
  params:
    image_size: 64
    in_channels: 6
    model_channels: 32
    out_channels: 3
    cond_lq: true
    attention_resolutions: [64, 32]
    dropout: 0
    channel_mult: [1, 2]
    num_res_blocks: [1, 1]
    num_head_channels: 16
    use_scale_shift_norm: true
    swin_depth: 2
    swin_embed_dim: 32
    window_size: 8
    mlp_ratio: 2
diffusion:
  target: models.script_util.create_gaussian_diffusion
  params:
    sf: 4
    schedule_name: exponential
    schedule_kwargs: {{power: 0.3}}
    etas_end: 0.99
    steps: {steps}
    min_noise_level: 0.04
    kappa: 2.0
    predict_type: xstart
    normalize_input: true
    latent_flag: true
{autoencoder}{more}
"""
AUTOENCODER = """
autoencoder:
  target: ldm.models.autoencoder.VQModelTorch
  params:
    embed_dim: 3
    n_embed: 64
    ddconfig: {double_z: false, z_channels: 3, resolution: 256, in_channels: 3, out_ch: 3, ch: 32,
      ch_mult: [1, 2, 4], num_res_blocks: 1, attn_resolutions: [], dropout: 0.0,
      padding_mode: zeros}
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with checkpoints: float.pth, bimacosr.pth, xnor.pth, vq.pth."""
    folder = tmp_path_factory.mktemp("weights")
    paper.write(folder / "float.pth", paper.unet())
    paper.write(folder / "vq.pth", paper.autoencoder())
    for method in ("bimacosr", "xnor", "bbcu"):
        paper.write(folder / f"{method}.pth", paper.student(method))
    return folder


def config(path: Path, *, steps: int = 15, autoencoder: str = AUTOENCODER, more: str = "") -> Path:
    text = CONFIG.format(trainer="", steps=steps, autoencoder=autoencoder, more=more)
    (path / "config.yaml").write_text(text)
    return path / "config.yaml"


def opened(
    files: Path, weights: str = "float.pth", **options: Any
) -> tuple[LatentBackend, list[str]]:
    told: list[str] = []
    options = {"autoencoder": files / "vq.pth", "backend": "torch"} | options
    resolver = bimacosr.load(weights=files / weights, notice=told.append, **options)
    assert isinstance(resolver.backend, LatentBackend)
    assert resolver.model is None
    assert resolver.scale == 4
    return resolver.backend, told


class TestSteps:
    def test_float_weights_take_the_whole_chain_and_say_so(self, files: Path) -> None:
        backend, told = opened(files)
        assert backend.sample is ancestral
        assert backend.process.last == 14
        assert told == [
            "float.pth may be ResShift or SinSR, which look alike: taking 15 steps; for SinSR give"
            " --one-step (in Python: steps=1)"
        ]

    def test_a_student_takes_one(self, files: Path) -> None:
        backend, told = opened(files, "bimacosr.pth")
        assert backend.sample is one_step
        assert told == []

    @pytest.mark.parametrize(
        ("options", "sampler", "last"),
        [
            ({"steps": 1}, one_step, 14),
            ({"steps": 4}, ancestral, 3),
            ({"sampler": "deterministic"}, deterministic, 14),
            ({"sampler": "ancestral", "chain_steps": 20}, ancestral, 19),
        ],
    )
    def test_what_is_asked_for_is_done_in_silence(
        self, files: Path, options: dict[str, Any], sampler: Any, last: int
    ) -> None:
        for weights in ("float.pth", "bimacosr.pth"):
            backend, told = opened(files, weights, **options)
            assert (backend.sample, backend.process.last, told) == (sampler, last, [])

    @pytest.mark.parametrize(
        ("name", "sampler"),
        [("SinSR_v1", one_step), ("resshift_realsrx4_s15_v1", ancestral)],
    )
    def test_released_weights_are_known_by_name(
        self, files: Path, tmp_path: Path, name: str, sampler: Any
    ) -> None:
        paper.write(tmp_path / f"{name}.pth", paper.unet())
        backend, told = opened(files, str(tmp_path / f"{name}.pth"))
        assert (backend.sample, told) == (sampler, [])


class TestConfig:
    def test_it_gives_the_chain(self, files: Path, tmp_path: Path) -> None:
        backend, told = opened(files, config=config(tmp_path, steps=20))
        assert (backend.sample, backend.process.last, told) == (ancestral, 19, [])
        assert opened(files, config=config(tmp_path, steps=20), chain_steps=9)[0].process.last == 8

    def test_that_of_a_distillation_means_one_step(self, files: Path, tmp_path: Path) -> None:
        path = config(tmp_path)
        path.write_text(path.read_text().replace("model:\n", "model:\n  teacher_ckpt_path: t\n", 1))
        backend, told = opened(files, config=path)
        assert (backend.sample, told) == (one_step, [])

    def test_what_it_says_without_being_known_is_told(self, files: Path, tmp_path: Path) -> None:
        _, told = opened(files, config=config(tmp_path, more="colour: {of: red}\n"))
        assert len(told) == 1
        assert "config.yaml has settings that are not known here: colour" in told[0]

    def test_one_on_pixels_is_refused(self, files: Path, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="describes a network without autoencoder"):
            opened(files, config=config(tmp_path, autoencoder=""))

    def test_it_already_says_the_method(self, files: Path, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="leave out the method"):
            opened(files, config=config(tmp_path), method="xnor")


class TestMethod:
    def test_it_makes_float_looking_weights_a_student(self, files: Path) -> None:
        backend, told = opened(files, "xnor.pth", method="xnor")
        assert (backend.sample, told) == (one_step, [])
        tile = np.random.default_rng(0).random((16, 16, 3), np.float32)
        as_float, _ = opened(files, "xnor.pth", steps=1)
        first, second = (
            each.restore(tile, row=0, column=0, seed=0) for each in (backend, as_float)
        )
        assert not np.allclose(first, second, atol=1e-3)

    def test_it_tells_alike_students_apart(self, files: Path) -> None:
        with pytest.raises(ModelError, match="reactnet or bbcu"):
            opened(files, "bbcu.pth")
        assert opened(files, "bbcu.pth", method="bbcu")[0].sample is one_step

    def test_one_that_is_not_known(self, files: Path) -> None:
        with pytest.raises(OptionError, match="'magic'"):
            opened(files, method="magic")


class TestRefused:
    def test_an_autoencoder_of_other_latents(self, files: Path, tmp_path: Path) -> None:
        settings = AutoencoderSettings(
            channels=32, num_res_blocks=1, n_embed=8, z_channels=4, embed_dim=4
        )
        paper.write(tmp_path / "vq4.pth", build_autoencoder(settings))
        with pytest.raises(ModelError, match="latent has 4 channels, but the weights are for 3"):
            opened(files, autoencoder=tmp_path / "vq4.pth")

    def test_weights_that_take_a_mask_too(self, files: Path, tmp_path: Path) -> None:
        state = dict(paper.unet().state_dict())
        first = state["input_blocks.0.0.weight"]
        state["input_blocks.0.0.weight"] = torch.cat([first, first[:, :1]], 1)
        torch.save(state, tmp_path / "mask.pth")
        with pytest.raises(ModelError, match="those for inpainting cannot be run here"):
            opened(files, str(tmp_path / "mask.pth"))

    def test_files_that_were_swapped(self, files: Path) -> None:
        with pytest.raises(ModelError, match="it is an autoencoder, not a denoiser"):
            opened(files, "vq.pth")
        with pytest.raises(ModelError, match="it is a denoiser, not an autoencoder"):
            opened(files, autoencoder=files / "float.pth")

    def test_the_released_autoencoder_where_it_is_not_there(
        self, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BIMACOSR_CACHE", str(tmp_path))
        with pytest.raises(ModelError, match="bimacosr weights download autoencoder_vq_f4"):
            opened(files, autoencoder=None)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"weights": "w.pth", "model": "edge-x4"}, "give either a model or weights, not both"),
            ({"steps": 4}, "steps is only for weights of the paper family"),
            ({"config": "c.yaml"}, "config is only for weights of the paper family"),
            (
                {"weights": "w.pth", "tiling": "official", "tile": 64},
                "tile is for the feathered tiling; the official one takes chop_size",
            ),
            ({"weights": "no-such"}, "there are no weights 'no-such'"),
        ],
    )
    def test_options_that_contradict_each_other(
        self, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises((OptionError, ModelError), match=message):
            bimacosr.load(**options)


def test_the_official_tiling_and_chop_size(files: Path) -> None:
    backend, _ = opened(files, steps=1, tiling="official", chop_size=512)
    assert backend.tiling == Official(chop_size=512)


def test_a_program_without_a_listener_is_warned(files: Path) -> None:
    with pytest.warns(UserWarning, match="may be ResShift or SinSR"):
        bimacosr.load(weights=files / "float.pth", autoencoder=files / "vq.pth")


def test_a_picture_of_a_program(files: Path) -> None:
    resolver = bimacosr.load(
        weights=files / "bimacosr.pth", autoencoder=files / "vq.pth", threads=1
    )
    image = Image.new("RGB", (20, 9), "green")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # random weights make another picture
        large, again = resolver(image), resolver(image)
    assert large.size == (80, 36)
    assert large.tobytes() == again.tobytes()
