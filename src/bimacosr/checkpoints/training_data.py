"""What an official configuration says of training pictures, as settings of our own loading.

`im_exts`, `io_backend` and `length` say how the official code finds files; here every picture of a
folder is found. Worker processes are ours to choose as well.
"""

from __future__ import annotations

from pathlib import Path

from bimacosr.config.data import DataSettings, LowQualitySettings
from bimacosr.config.official import DataSettings as OfficialData
from bimacosr.config.official import OfficialConfig, OfficialDegradation, Value
from bimacosr.errors import OptionError

__all__ = ["low_quality_of", "training_data_of"]

_KINDS = ("realesrgan", "bicubic")
_BICUBIC_SOURCES = ("source_path", "source_txt_path")


def low_quality_of(config: OfficialConfig | OfficialDegradation) -> LowQualitySettings:
    """How the low-quality half of a pair is made.

    Raises:
        OptionError: the configuration has no training pictures, or they are made in a way that is
            not supported (faces, inpainting).
    """
    data = _data(config)
    if data.type == "realesrgan":
        if config.degradation is None or config.pairs is None:
            raise OptionError("the configuration describes no degradation")
        return LowQualitySettings(
            chains=(config.degradation,),
            scale=config.degradation.scale,
            sharpen=config.pairs.use_sharp,
            resize_back=config.pairs.resize_back,
        )
    factor = _number(data.option("degrade_kwargs.scale", 0.25))
    scale = round(1 / factor) if factor > 0 else 0
    if scale < 1 or abs(scale * factor - 1) > 1e-6:
        raise OptionError(f"degrade_kwargs.scale is {factor:g}; it must be 1 over a whole number")
    if not data.option("degrade_kwargs.activate_matlab", True):
        raise OptionError("degrade_kwargs.activate_matlab is off; only MATLAB's bicubic is known")
    back = bool(data.option("degrade_kwargs.resize_back", False))
    return LowQualitySettings(chains=(), shares=(), scale=scale, resize_back=back)


def training_data_of(
    config: OfficialConfig,
    sources: tuple[Path, ...] = (),
    *,
    cache: Path | None = None,
    seed: int = 0,
) -> DataSettings:
    """The settings of `TrainingPairs` for an official training.

    Args:
        config: An official configuration.
        sources: Folders of pictures; without them those that the configuration names.
        cache: Folder for degraded pairs; whole pictures are degraded then, so `crop_pad_size` and
            `rescale_gt` do not apply.
        seed: Decides over every sample.

    Raises:
        OptionError: the configuration has no training pictures or names no folder, they are made
            in a way that is not supported, or a size does not fit.
    """
    data, low_quality = _data(config), low_quality_of(config)
    if data.type == "realesrgan":
        assert config.pairs is not None
        target, named = config.pairs.gt_size, ("dir_paths", "txt_file_path")
        flip, turn = bool(data.option("use_hflip")), bool(data.option("use_rot"))
        rescale = bool(data.option("rescale_gt"))
        square = data.option("crop_pad_size")
    else:
        target, named = int(_number(data.option("degrade_kwargs.pch_size", 256))), _BICUBIC_SOURCES
        flip = turn = not data.option("degrade_kwargs.pass_aug", False)
        rescale, square = False, target
    if target % low_quality.scale:
        raise OptionError(
            f"the target is {target} pixels; it must be a multiple of {low_quality.scale}"
        )
    sources = sources or tuple(path for name in named for path in _paths(data.option(name)))
    if not sources:
        raise OptionError("the configuration names no training pictures; name a folder")
    fresh = cache is None
    return DataSettings(
        sources=sources,
        patch=target // low_quality.scale,
        low_quality=low_quality,
        square_px=int(_number(square)) if square and fresh and not rescale else None,
        rescale=rescale and fresh,
        flip=flip,
        turn=turn,
        cache=cache,
        seed=seed,
    )


def _data(config: OfficialConfig | OfficialDegradation) -> OfficialData:
    data = config.data if isinstance(config, OfficialDegradation) else config.training_data
    if data is None:
        raise OptionError("the configuration has no training pictures (data.train)")
    if data.type not in _KINDS:
        raise OptionError(
            f"the training pictures are of type {data.type}; only {' and '.join(_KINDS)} are known"
        )
    return data


def _number(value: Value) -> float:
    assert isinstance(value, int | float)  # the reader has checked its kind
    return value


def _paths(value: Value) -> tuple[Path, ...]:
    names = value if isinstance(value, tuple) else (value,)
    return tuple(Path(str(name)) for name in names if name)
