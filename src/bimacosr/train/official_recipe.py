"""An official YAML of ResShift, SinSR or BiMaCoSR as a recipe, so that it trains here as it is.

What the official trainers do otherwise, and this one does not take over: the first step at the
whole learning rate, a pool of batches in random order, and one generator for all random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bimacosr.checkpoints.official import read_config
from bimacosr.checkpoints.training_data import training_data_of
from bimacosr.config.official import OfficialConfig, TrainSettings
from bimacosr.config.train import Stage, TrainRecipe
from bimacosr.errors import OptionError
from bimacosr.train.recipe import changed_tree, plain_values, recipe_from

__all__ = ["read_official_recipe"]


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
    sources = tuple(Path(folder) for folder in fixed.get("data.sources") or ())
    try:
        tree = official_tree(config, stage, sources)
        return recipe_from(changed_tree(tree, overrides, fixed))
    except OptionError as error:
        raise OptionError(f"the configuration {path} cannot be used: {error}") from error


def official_tree(
    config: OfficialConfig, stage: Stage, sources: tuple[Path, ...] = ()
) -> dict[str, Any]:
    """The recipe in plain values; `sources` are folders of pictures instead of those it names."""
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
        "data": plain_values(asdict(training_data_of(config, sources))),
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
