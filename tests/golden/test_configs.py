"""Every official configuration becomes typed settings: nothing unknown, every value where it is."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from bimacosr.checkpoints.official import OfficialConfig, read_config, read_degradation
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.degradation import (
    DegradationSettings,
    StageSettings,
    realesrgan_x4,
)
from bimacosr.config.diffusion import DiffusionSettings, DistillSettings, sinsr_distillation
from bimacosr.config.networks import AutoencoderSettings, UNetSettings, realsrx4_unet, vq_f4
from bimacosr.config.official import CheckpointFiles, QuantizationOrder
from tests.golden import reference as ref

FILES = sorted(ref.meta("configs_used")) if ref.FOLDER.is_dir() else []
TESTING = "zsyOAOA/ResShift/configs/degradation_testing_realesrgan.yaml"
NETWORKS = [name for name in FILES if name != TESTING]
STUDENT = "Kai-Liu001/BiMaCoSR/configs/BiMaCoSR.yaml"
SINSR = "wyf0912/SinSR/configs/SinSR.yaml"
FACES = "zsyOAOA/ResShift/configs/faceir_gfpgan512_lpips.yaml"


@cache
def raw(name: str) -> dict[str, Any]:
    content: dict[str, Any] = ref.meta("configs_used")[name]
    return content


def written(folder: Path, name: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(raw(name), sort_keys=False))
    return path


@pytest.fixture
def config(tmp_path: Path, request: pytest.FixtureRequest) -> OfficialConfig:
    return read_config(written(tmp_path, request.param))


def resolved(name: str, value: Any) -> Any:
    """The value of a setting, references followed and numbers read, lists as tuples."""
    while isinstance(value, str) and value.startswith("${"):
        found: Any = raw(name)
        for part in value[2:-1].split("."):
            found = found[part]
        value = found
    if isinstance(value, list):
        return tuple(value)
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def test_there_are_twelve_files() -> None:
    assert len(FILES) == 12
    assert len(NETWORKS) == 11


@pytest.mark.parametrize("name", NETWORKS)
class TestEveryFile:
    def test_nothing_is_unknown(self, tmp_path: Path, name: str) -> None:
        assert read_config(written(tmp_path, name)).unknown == ()

    def test_an_unknown_setting_is_reported(self, tmp_path: Path, name: str) -> None:
        path = written(tmp_path, name)
        content = yaml.safe_load(path.read_text())
        content["train"]["surprise"] = 1
        content["model"]["params"]["more"] = {"deep": 2}
        content["data"]["train"]["params"]["extra"] = 3
        content["later"] = {"a": 1}
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        assert sorted(read_config(path).unknown) == [
            "data.train.params.extra",
            "later",
            "model.params.more",
            "train.surprise",
        ]

    def test_denoiser(self, tmp_path: Path, name: str) -> None:
        config, params = read_config(written(tmp_path, name)), raw(name)["model"]["params"]
        for field in UNetSettings.__dataclass_fields__:
            if field != "in_channels":
                assert getattr(config.unet, field) == resolved(name, params[field]), field
        assert config.condition.lq_size == params.get("lq_size")
        assert config.condition.mask == params.get("cond_mask", False)

    def test_diffusion(self, tmp_path: Path, name: str) -> None:
        config, params = read_config(written(tmp_path, name)), raw(name)["diffusion"]["params"]
        for field in DiffusionSettings.__dataclass_fields__:
            if field not in ("power", "clip"):
                assert getattr(config.diffusion, field) == params[field], field
        assert config.diffusion.power == params["schedule_kwargs"]["power"]
        assert config.scale == params["sf"]
        assert config.weighted_mse is params["weighted_mse"]

    def test_autoencoder(self, tmp_path: Path, name: str) -> None:
        config, section = read_config(written(tmp_path, name)), raw(name)["autoencoder"]
        inner = section["params"]["ddconfig"]
        settings = config.autoencoder
        assert isinstance(settings, AutoencoderSettings)
        assert settings.channels == inner["ch"]
        assert settings.channel_mult == tuple(inner["ch_mult"])
        blocks = settings.level_res_blocks or settings.num_res_blocks
        assert blocks == resolved(name, inner["num_res_blocks"])
        assert settings.z_channels == inner["z_channels"]
        assert (settings.in_channels, settings.out_channels) == (
            inner["in_channels"],
            inner["out_ch"],
        )
        assert settings.embed_dim == section["params"]["embed_dim"]
        assert settings.n_embed == section["params"]["n_embed"]
        assert config.half_autoencoder is section["use_fp16"]
        assert config.checkpoints.autoencoder == section["ckpt_path"]

    def test_course_of_the_training(self, tmp_path: Path, name: str) -> None:
        train = read_config(written(tmp_path, name)).train
        distill = {"learn_xT", "finetune_use_gt", "compile"}
        for key, value in raw(name)["train"].items():
            if key not in distill:
                assert getattr(train, key) == resolved(name, value), key
        compiled = raw(name)["train"].get("compile", {"flag": False, "mode": None})
        assert train is not None
        assert (train.compile_flag, train.compile_mode) == (compiled["flag"], compiled["mode"])

    def test_data(self, tmp_path: Path, name: str) -> None:
        config = read_config(written(tmp_path, name))
        parts = {"train": config.training_data, "val": config.validation_data}
        assert set(raw(name)["data"]) == {part for part, data in parts.items() if data}
        for part, section in raw(name)["data"].items():
            data = parts[part]
            assert data is not None
            assert data.type == section["type"]
            wanted = {k: resolved(name, v) for k, v in flat(section["params"]).items()}
            assert dict(data.options) == wanted

    def test_degradation(self, tmp_path: Path, name: str) -> None:
        config = read_config(written(tmp_path, name))
        if "degradation" not in raw(name):
            assert config.degradation is None
            assert config.pairs is None
            return
        assert config.degradation is not None
        assert_same_chain(
            config.degradation, raw(name)["degradation"], raw(name)["data"]["train"]["params"]
        )
        assert config.pairs is not None
        for field in ("gt_size", "resize_back", "use_sharp"):
            assert getattr(config.pairs, field) == raw(name)["degradation"][field]


def flat(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in section.items():
        inner = isinstance(value, dict)
        found |= flat(value, f"{prefix}{key}.") if inner else {prefix + key: value}
    return found


def assert_same_chain(
    chain: DegradationSettings, section: dict[str, Any], kernels: dict[str, Any]
) -> None:
    assert chain.scale == section["sf"]
    assert chain.second_probability == section["second_order_prob"]
    assert chain.second.blur_probability == section["second_blur_prob"]
    assert chain.first.blur_probability == 1
    assert chain.final_sinc_probability == kernels["final_sinc_prob"]
    stages: dict[str, StageSettings] = {"": chain.first, "2": chain.second}
    for order, stage in stages.items():
        for key, value in (
            ("resize_prob", stage.resize_probabilities),
            ("resize_range", stage.resize_range),
            ("gaussian_noise_prob", stage.gaussian_probability),
            ("noise_range", stage.noise_sigma),
            ("poisson_scale_range", stage.poisson_scale),
            ("gray_noise_prob", stage.gray_probability),
            ("jpeg_range", stage.jpeg_quality),
        ):
            wanted = section[key + order]
            assert value == (tuple(wanted) if isinstance(wanted, list) else wanted), key + order
        for key, value in (
            ("kernel_list", stage.blur.kinds),
            ("kernel_prob", stage.blur.probabilities),
            ("blur_sigma", stage.blur.sigma),
            ("betag_range", stage.blur.generalized_beta),
            ("betap_range", stage.blur.plateau_beta),
        ):
            assert value == tuple(kernels[key + order]), key + order
        assert stage.blur.sinc_probability == kernels["sinc_prob" + order]
        # the official code draws from a range that ends before the configured size
        assert stage.blur.sizes == tuple(range(3, kernels["blur_kernel_size" + order], 2))


def test_the_file_about_the_degradation_alone(tmp_path: Path) -> None:
    found = read_degradation(written(tmp_path, TESTING))
    assert found.unknown == ()
    assert_same_chain(found.degradation, raw(TESTING)["degradation"], raw(TESTING)["opts"])
    assert found.degradation.first.blur.sizes == (3, 5, 7, 9, 11)
    wanted = {k: resolved(TESTING, v) for k, v in flat(raw(TESTING)["opts"]).items()}
    assert dict(found.data.options) == wanted


@pytest.mark.parametrize("config", [STUDENT], indirect=True)
def test_the_student_is_ours(config: OfficialConfig) -> None:
    """The official file and our own presets say the same."""
    assert config.unet == realsrx4_unet() == config.teacher
    rule = KeepFloatRule(keywords=("input_blocks.0.0", "out.2"), max_parameters=200_000)
    assert config.binarize == BinarizeSettings(rank=8, keep_float_conv=(rule,))
    assert config.diffusion == DiffusionSettings()
    assert config.distill == DistillSettings()
    assert config.autoencoder == vq_f4()
    assert config.degradation == replace(realesrgan_x4(), first_resize_by_factor=True)
    assert config.order == QuantizationOrder()
    assert config.trainer is None
    assert config.checkpoints == CheckpointFiles(
        teacher="weights/resshift_realsrx4_s15_v1.pth",
        autoencoder="weights/autoencoder_vq_f4.pth",
        initial="weights/SinSR_v1.pth",
    )


@pytest.mark.parametrize("config", [SINSR], indirect=True)
def test_sinsr_distils_with_its_two_terms(config: OfficialConfig) -> None:
    assert config.distill == sinsr_distillation()
    assert config.binarize is None
    assert config.teacher == realsrx4_unet()
    assert config.checkpoints.teacher == "weights/resshift_realsrx4_s15_v1.pth"


@pytest.mark.parametrize("config", [FACES], indirect=True)
def test_faces(config: OfficialConfig) -> None:
    assert config.autoencoder is not None
    assert config.autoencoder.level_res_blocks == (1, 2, 3, 4)
    assert config.trainer == "mse+lpips"
    assert config.scale == 1


@pytest.mark.parametrize("name", [n for n in NETWORKS if n.startswith("zsyOAOA")])
def test_channels_of_the_condition(tmp_path: Path, name: str) -> None:
    """The first convolution takes latent and condition, as the keys of the checkpoints show."""
    told = ref.meta("keys_resshift_v3_delta")["configs"][Path(name).name]["changed_or_added"]
    wanted = told.get("input_blocks.0.0.weight", [[160, 6, 3, 3]])[0][1]
    assert read_config(written(tmp_path, name)).unet.in_channels == wanted
