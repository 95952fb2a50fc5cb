"""Official data sections: what they say is what our loading does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bimacosr.checkpoints.training_data import low_quality_of, training_data_of
from bimacosr.config.degradation import realesrgan_x4
from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.config.networks import realsrx4_unet
from bimacosr.config.official import (
    DataSettings,
    OfficialConfig,
    OfficialDegradation,
    PairSettings,
    Value,
)
from bimacosr.errors import OptionError

REALESRGAN: dict[str, Value] = {
    "dir_paths": ("a", "b"),
    "txt_file_path": ("c.txt",),
    "gt_size": 256,
    "crop_pad_size": 300,
    "use_hflip": True,
    "use_rot": False,
    "rescale_gt": False,
}
BICUBIC: dict[str, Value] = {
    "source_path": None,
    "source_txt_path": ("c.txt",),
    "degrade_kwargs.scale": 0.25,
    "degrade_kwargs.activate_matlab": True,
    "degrade_kwargs.resize_back": True,
    "degrade_kwargs.pch_size": 128,
}


def official(
    kind: str, options: dict[str, Value], pairs: PairSettings | None = None
) -> OfficialConfig:
    heavy = kind == "realesrgan"
    return OfficialConfig(
        unet=realsrx4_unet(),
        diffusion=DiffusionSettings(),
        degradation=realesrgan_x4() if heavy else None,
        pairs=(pairs or PairSettings()) if heavy else None,
        training_data=DataSettings(type=kind, options=tuple(options.items())),
    )


class TestRealEsrgan:
    def test_every_setting_is_taken(self) -> None:
        pairs = PairSettings(gt_size=128, use_sharp=True, resize_back=True)
        data = training_data_of(official("realesrgan", REALESRGAN, pairs), seed=3)
        assert data.sources == (Path("a"), Path("b"), Path("c.txt"))
        assert (data.patch, data.target_px) == (32, 128)
        assert data.square_px == 300
        assert (data.flip, data.turn, data.rescale) == (True, False, False)
        assert (data.seed, data.cache) == (3, None)
        quality = data.low_quality
        assert quality.chains == (realesrgan_x4(),)
        assert quality.sharpen
        assert quality.resize_back

    def test_rescaling_takes_the_place_of_the_square(self) -> None:
        data = training_data_of(official("realesrgan", REALESRGAN | {"rescale_gt": True}))
        assert data.rescale
        assert data.square_px is None

    def test_a_cache_keeps_whole_pictures(self) -> None:
        config = official("realesrgan", REALESRGAN | {"rescale_gt": True})
        data = training_data_of(config, cache=Path("cache"))
        assert (data.rescale, data.square_px, data.cache) == (False, None, Path("cache"))

    def test_folders_of_ones_own(self) -> None:
        data = training_data_of(official("realesrgan", REALESRGAN), (Path("mine"),))
        assert data.sources == (Path("mine"),)

    def test_a_degradation_alone(self) -> None:
        alone = OfficialDegradation(
            degradation=realesrgan_x4(),
            pairs=PairSettings(use_sharp=True),
            data=DataSettings(type="realesrgan"),
        )
        assert low_quality_of(alone).sharpen


class TestBicubic:
    def test_every_setting_is_taken(self) -> None:
        data = training_data_of(official("bicubic", BICUBIC))
        assert data.sources == (Path("c.txt"),)
        assert (data.target_px, data.square_px) == (128, 128)
        assert data.flip
        assert data.turn
        assert data.low_quality.chains == ()
        assert data.low_quality.scale == 4
        assert data.low_quality.resize_back

    def test_without_augmentation(self) -> None:
        data = training_data_of(official("bicubic", BICUBIC | {"degrade_kwargs.pass_aug": True}))
        assert not data.flip
        assert not data.turn

    @pytest.mark.parametrize("scale", [0.3, 0, -0.25])
    def test_a_scale_that_is_no_part(self, scale: float) -> None:
        config = official("bicubic", BICUBIC | {"degrade_kwargs.scale": scale})
        with pytest.raises(OptionError, match="it must be 1 over a whole number"):
            low_quality_of(config)

    def test_another_bicubic(self) -> None:
        config = official("bicubic", BICUBIC | {"degrade_kwargs.activate_matlab": False})
        with pytest.raises(OptionError, match="only MATLAB's bicubic is known"):
            low_quality_of(config)


class TestRefused:
    def test_no_training_pictures(self) -> None:
        config = replace(official("bicubic", BICUBIC), training_data=None)
        with pytest.raises(OptionError, match="no training pictures"):
            low_quality_of(config)

    def test_no_degradation(self) -> None:
        config = replace(official("realesrgan", REALESRGAN), degradation=None)
        with pytest.raises(OptionError, match="describes no degradation"):
            low_quality_of(config)

    def test_another_kind(self) -> None:
        with pytest.raises(OptionError, match="of type inpainting; only realesrgan and bicubic"):
            low_quality_of(official("inpainting", {}))

    def test_no_folder(self) -> None:
        config = official("realesrgan", {"gt_size": 256})
        with pytest.raises(OptionError, match="names no training pictures; name a folder"):
            training_data_of(config)

    def test_a_target_between_pixels(self) -> None:
        config = official("realesrgan", REALESRGAN, PairSettings(gt_size=130))
        with pytest.raises(OptionError, match="130 pixels; it must be a multiple of 4"):
            training_data_of(config)
