"""An official YAML of ResShift, SinSR or BiMaCoSR as a recipe, so that it trains here as it is.

What the official trainers do otherwise, and this one does not take over: the first step at the
whole learning rate, a pool of batches in random order, and one generator for all random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bimacosr.checkpoints.official import read_config
from bimacosr.config.data import LowQualitySettings, low_quality
from bimacosr.config.official import OfficialConfig, TrainSettings, Value
from bimacosr.config.train import Stage, TrainRecipe
from bimacosr.errors import OptionError
from bimacosr.train.recipe import changed_tree, plain_values, recipe_from

__all__ = ["read_official_recipe"]

_SOURCES = ("dir_path", "dir_paths", "txt_file_path", "source_path", "source_txt_path")


def read_official_recipe(
    path: Path, stage: Stage, overrides: Sequence[str], fixed: Mapping[str, Any]
) -> TrainRecipe:
    """The recipe of `stage` in an official configuration.

    Args:
        path: The official YAML.
        stage: What to train by it.
        overrides, fixed: As for `read_recipe`.

    Raises:
        OptionError: the file cannot be read or used, or lacks what the stage needs.
    """
    config = read_config(path)
    try:
        return recipe_from(changed_tree(official_tree(config, stage), overrides, fixed))
    except OptionError as error:
        raise OptionError(f"the configuration {path} cannot be used: {error}") from error


def official_tree(config: OfficialConfig, stage: Stage) -> dict[str, Any]:
    """The recipe in plain values."""
    if stage == "binarize" and config.binarize is None:
        raise OptionError("it describes no 1-bit network; train another stage by it")
    if config.autoencoder is None:
        raise OptionError("it describes a network without autoencoder, on pixels")
    if config.train is None:
        raise OptionError("it says nothing of a training")
    files, train = config.checkpoints, config.train
    tree: dict[str, Any] = {
        "stage": stage,
        "model": {
            "family": "paper",
            "unet": plain_values(asdict(config.unet)),
            "autoencoder": plain_values(asdict(config.autoencoder)),
            "autoencoder_file": files.autoencoder or "",
        },
        "diffusion": plain_values(asdict(config.diffusion)),
        "weighted_mse": config.weighted_mse,
        "data": official_data(config),
        "batch": train.batch[0],
        "accumulate": max(1, train.batch[0] // train.microbatch),
        "seed": train.seed,
        "precision": "bf16" if train.use_amp or train.use_fp16 else "fp32",
        "compile": train.compile_flag,
        "optimiser": {
            "betas": [0.9, 0.999],
            "weight_decay": train.weight_decay,
            "clip": 0.0,
            "ema": train.ema_rate or 0.0,
        },
        "phases": [official_phase(config, train)],
        "log": {"save_every": train.save_freq, "tensorboard": train.tf_logging},
        "start": (files.initial if stage == "binarize" else files.unet) or "",
        "teacher": (files.teacher or "") if stage != "teacher" else "",
    }
    if config.distill is not None and stage != "teacher":
        tree["distill"] = plain_values(asdict(config.distill))
    if config.binarize is not None and stage == "binarize":
        tree["binarize"] = plain_values(asdict(config.binarize))
    return tree


def official_phase(config: OfficialConfig, train: TrainSettings) -> dict[str, Any]:
    """The course: one phase."""
    latent, perceptual = 1.0, 0.0
    if config.trainer == "mse+lpips" and train.loss_coef is not None:
        latent, perceptual = train.loss_coef
    milestones = train.milestones
    cosine = train.lr_schedule is not None
    return {
        "name": "official",
        "steps": train.iterations,
        "learning_rate": train.lr,
        "schedule": "cosine" if cosine else "halving",
        "warmup": train.warmup_iterations or (milestones[0] if milestones else 0),
        "final_rate": (train.lr_min or 0.0) / train.lr,
        "milestones": [] if cosine else list(milestones[1:]),
        "weights": {"latent": latent, "perceptual": perceptual},
    }


def official_data(config: OfficialConfig) -> dict[str, Any]:
    """Where pictures come from and what becomes of them."""
    data, pairs = config.training_data, config.pairs
    sources: list[Value] = []
    for name in _SOURCES:
        value = data.option(name) if data is not None else None
        sources += value if isinstance(value, tuple) else [value] if value else []
    degradation: LowQualitySettings = low_quality("bicubic", config.scale)
    if config.degradation is not None:
        degradation = LowQualitySettings(chains=(config.degradation,), scale=config.scale)
    if pairs is not None:
        degradation = replace(degradation, sharpen=pairs.use_sharp, resize_back=pairs.resize_back)
    target = pairs.gt_size if pairs is not None else 256
    crop = data.option("crop_pad_size") if data is not None else None
    return {
        "sources": sources,
        "patch": target // config.scale,
        "low_quality": plain_values(asdict(degradation)),
        "square_px": crop if isinstance(crop, int) else None,
        "rescale": bool(data is not None and data.option("rescale_gt")),
        "flip": data is None or data.option("use_hflip") is not False,
        "turn": bool(data is not None and data.option("use_rot")),
    }
