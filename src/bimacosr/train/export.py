"""From the 1-bit student of a run to the packed model that the native engine reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from bimacosr.binarize.convert import binarize
from bimacosr.config.train import TrainRecipe
from bimacosr.diffusion.schedule import make_schedule
from bimacosr.errors import ModelError, OptionError
from bimacosr.pack.autoencoder import autoencoder_entry
from bimacosr.pack.format import PackedModel
from bimacosr.pack.modules import pack_network
from bimacosr.train.weights import Weights, fill, one_step_shape

__all__ = ["packed_student"]


def packed_student(
    weights: Weights,
    *,
    name: str,
    license_name: str,
    residual_gain: float = 1.0,
    facts: Mapping[str, Any] | None = None,
) -> PackedModel:
    """Pack the averaged weights of a run of stage "binarize".

    Args:
        weights: Of a checkpoint of such a run.
        name: What to call the model.
        license_name: Licence of the weights, as an SPDX identifier.
        residual_gain: Factor on what an edge network adds to the bicubic picture; below 1 is
            gentler on photographs that are sharper than the training pairs.
        facts: Facts for people, shown by `bimacosr info`.

    Raises:
        ModelError: the checkpoint is of another stage, or cannot be packed.
        OptionError: the gain does not fit the network.
    """
    recipe = weights.recipe
    if recipe is None or recipe.stage != "binarize":
        stage = "another trainer" if recipe is None else f"stage {recipe.stage!r}"
        raise ModelError(
            f"{weights.path} is of {stage}; only a student of `bimacosr train binarize` is packed"
        )
    student = binarize(one_step_shape(recipe.model), recipe.binarize)
    fill(student, weights)
    if residual_gain != 1:
        scale_residual(student, recipe, residual_gain)
    return pack_network(
        student,
        name=name,
        binarize_settings=recipe.binarize,
        diffusion=asdict(recipe.diffusion),
        license_name=license_name,
        extra={"residual_gain": residual_gain, **(facts or {})},
        **family_of(recipe),
    )


def family_of(recipe: TrainRecipe) -> dict[str, Any]:
    """What `pack_network` is told of the network beside its weights."""
    model = recipe.model
    if model.family == "edge":
        return {"family": "edge", "network": asdict(model.edge)}
    return {
        "family": "swin",
        "network": asdict(model.unet),
        "step": make_schedule(recipe.diffusion).network_steps[-1],
        "autoencoder": autoencoder_entry(model.autoencoder),
    }


@torch.no_grad()
def scale_residual(student: nn.Module, recipe: TrainRecipe, gain: float) -> None:
    """Scale what the last layer gives, where that is the residual."""
    if recipe.model.family != "edge" or recipe.diffusion.predict_type != "residual":
        raise OptionError("a residual gain is for edge networks that predict the residual")
    for parameter in student.get_submodule("last").parameters():
        parameter.mul_(gain)
