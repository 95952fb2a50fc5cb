"""Weights that a stage begins with or learns from: of a run, a checkpoint, an official file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bimacosr.binarize.convert import binarize
from bimacosr.checkpoints.load import assemble_unet
from bimacosr.checkpoints.read import read_state
from bimacosr.config.train import ModelSettings, TrainRecipe
from bimacosr.diffusion.schedule import make_schedule
from bimacosr.errors import BimacosrError, ModelError
from bimacosr.networks.edge import EdgeNet
from bimacosr.networks.timed_edge import TimedEdgeNet
from bimacosr.networks.unet import build_unet
from bimacosr.train.checkpoint import is_checkpoint, newest_checkpoint, read_checkpoint
from bimacosr.train.recipe import recipe_from

__all__ = [
    "Weights",
    "fill",
    "float_network",
    "one_step_network",
    "one_step_shape",
    "open_teacher",
    "open_weights",
    "plain_student",
]


@dataclass(frozen=True)
class Weights:
    """A state dict, and how it came about."""

    path: Path
    """Where it was read."""

    state: Mapping[str, Tensor]
    """Averaged weights, on the CPU."""

    recipe: TrainRecipe | None
    """The recipe of the run that made them; None for a file of another origin."""


def open_weights(text: str) -> Weights:
    """The averaged weights in a checkpoint, in the newest one of a run's folder, or a state dict.

    Raises:
        ModelError: there are none, or they are damaged.
    """
    path = Path(text)
    if path.is_dir():
        newest = newest_checkpoint(path)
        if newest is None:
            raise ModelError(f"the folder {path} holds no checkpoint; train that stage first")
        path, parts, _ = newest
    elif is_checkpoint(path):
        parts = read_checkpoint(path)
    else:
        return Weights(path, read_state(path), None)
    return Weights(path, parts["average"], stored_recipe(path, parts))


def stored_recipe(path: Path, parts: Mapping[str, Any]) -> TrainRecipe:
    """The recipe that a checkpoint was made by.

    Raises:
        ModelError: this version does not know it.
    """
    try:
        return recipe_from(parts["recipe"])
    except BimacosrError as error:
        raise ModelError(f"the recipe in {path} cannot be used: {error}") from error


def float_network(model: ModelSettings) -> nn.Module:
    """The float network of teacher and student, untrained."""
    if model.family == "paper":
        return build_unet(model.unet)
    return TimedEdgeNet(model.edge.channels, model.edge.blocks, model.edge.scale)


def open_teacher(recipe: TrainRecipe) -> tuple[nn.Module, ModelSettings]:
    """The teacher that a recipe names, frozen, and its shape.

    Raises:
        ModelError: it is missing, damaged, of another stage, or walks another chain.
    """
    weights = open_weights(recipe.teacher)
    if weights.recipe is None:
        if recipe.model.family == "edge":
            raise ModelError(
                f"{weights.path} is no checkpoint of `bimacosr train teacher`, which a teacher of"
                " the edge family must be"
            )
        unet = assemble_unet(weights.state)
        if unet.binarize is not None:
            raise ModelError(f"{weights.path} is a 1-bit student; the teacher is a float network")
        shape = ModelSettings(
            family="paper",
            unet=unet.settings,
            autoencoder=recipe.model.autoencoder,
            autoencoder_file=recipe.model.autoencoder_file,
        )
        return unet.network.requires_grad_(False), shape
    check_teacher(weights, recipe)
    network = float_network(weights.recipe.model)
    fill(network, weights)
    return network.eval().requires_grad_(False), weights.recipe.model


def check_teacher(weights: Weights, recipe: TrainRecipe) -> None:
    """See that the teacher fits the student's recipe."""
    taught = weights.recipe
    assert taught is not None
    if taught.stage != "teacher":
        raise ModelError(
            f"{weights.path} is of stage {taught.stage!r}; the teacher must be of stage 'teacher'"
        )
    if (taught.model.family, taught.model.scale) != (recipe.model.family, recipe.model.scale):
        raise ModelError(
            f"the teacher {weights.path} is of family {taught.model.family!r} and enlarges"
            f" {taught.model.scale} times; the student is {recipe.model.family!r},"
            f" {recipe.model.scale} times"
        )
    for field in fields(recipe.diffusion):
        theirs, ours = (getattr(r.diffusion, field.name) for r in (taught, recipe))
        if theirs != ours:
            raise ModelError(
                f"the teacher {weights.path} walks another chain: its diffusion.{field.name} is"
                f" {theirs}, the recipe's is {ours}"
            )


def plain_student(recipe: TrainRecipe) -> nn.Module:
    """The 1-bit student of stage "binarize", made of the float student that the recipe starts from.

    If that is a 1-bit student of the same kind already, it is trained on.

    Raises:
        ModelError: it is missing, damaged, or of another shape or binarization.
    """
    weights = open_weights(recipe.start)
    network = one_step_network(weights, recipe.model)
    if network is not None:
        return binarize(network, recipe.binarize)
    student = binarize(one_step_shape(recipe.model), recipe.binarize)
    fill(student, weights)
    return student


def one_step_network(weights: Weights, model: ModelSettings) -> nn.Module | None:
    """The float network of `weights` as it is asked at the end of the chain; None if not float."""
    origin = weights.recipe
    if origin is not None and origin.stage != "binarize":
        network = float_network(model)
        fill(network, weights)
        if isinstance(network, TimedEdgeNet):
            return network.at_step(make_schedule(origin.diffusion).network_steps[-1])
        return network
    network = one_step_shape(model)
    if origin is not None or shapes(network.state_dict()) != shapes(weights.state):
        return None
    network.load_state_dict(dict(weights.state))
    return network


def one_step_shape(model: ModelSettings) -> nn.Module:
    """The float network that knows one step only, untrained."""
    if model.family == "paper":
        return build_unet(model.unet)
    return EdgeNet(model.edge.channels, model.edge.blocks, model.edge.scale)


def fill(network: nn.Module, weights: Weights) -> None:
    """Load weights that must fit exactly.

    Raises:
        ModelError: a key is missing, surplus or of another shape.
    """
    expected, found = shapes(network.state_dict()), shapes(weights.state)
    for key in {**expected, **found}:
        if expected.get(key) != found.get(key):
            stage = "" if weights.recipe is None else f" (of stage {weights.recipe.stage!r})"
            raise ModelError(
                f"{weights.path}{stage} does not fit the recipe: {key} is {found.get(key)} instead"
                f" of {expected.get(key)}"
            )
    with torch.no_grad():
        network.load_state_dict(dict(weights.state))


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shape of each entry."""
    return {key: tuple(tensor.shape) for key, tensor in state.items()}
