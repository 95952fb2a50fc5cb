"""The options that say what is trained, shared by the stages and the parcel."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bimacosr.errors import BackendError, BimacosrError, OptionError
from bimacosr.io.failures import shown

if TYPE_CHECKING:
    from bimacosr.config.train import Stage, TrainRecipe

__all__ = ["chosen_recipe", "in_sentences", "need_torch", "recipe_options", "student_options"]

_PATH = click.Path(path_type=Path)

_RECIPE = (
    click.option("--recipe", type=_PATH, help="Recipe of the stage (YAML), see training/recipes."),
    click.option(
        "--cfg_path", type=_PATH, help="Instead: an official YAML of ResShift, SinSR or BiMaCoSR."
    ),
    click.option(
        "--photos",
        multiple=True,
        type=_PATH,
        help="Folder of clean pictures; again for more.  [default: data.sources of the recipe]",
    ),
    click.option("--start", type=_PATH, help="Weights to begin with: a run's folder or a file."),
    click.option("--loss-weights", type=_PATH, help="Folder with lpips_squeeze.safetensors."),
    click.option(
        "--picture-teacher",
        type=_PATH,
        help="Real-ESRGAN x4plus (ncnn's .param, the .bin beside it), for phases that ask for it.",
    ),
    click.option("--autoencoder", type=_PATH, help="Checkpoint of VQ-f4 (family 'paper')."),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="NAME=VALUE",
        help="Change one setting of the recipe, such as phases.0.steps=100; again for more.",
    ),
)
_STUDENT = (
    click.option(
        "--teacher",
        type=_PATH,
        help="The teacher: its run's folder, a checkpoint, official weights.",
    ),
)
_METHOD = (click.option("--method", help="bimacosr, xnor, reactnet, bbcu, reste, bidm or horq."),)


def recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """What every stage is told."""
    return _with(_RECIPE, command)


def student_options(*, one_bit: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """What a student is told beside, float or 1-bit."""
    return lambda command: _with(_METHOD * one_bit + _STUDENT, command)


def _with(
    options: tuple[Callable[..., Any], ...], command: Callable[..., None]
) -> Callable[..., None]:
    for option in reversed(options):
        command = option(command)
    return command


def in_sentences(command: Callable[..., None]) -> Callable[..., None]:
    """End with one sentence, and status 1, for what is the user's business."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except BimacosrError as error:
            click.echo(shown(f"error: {error}"), err=True)
            sys.exit(1)

    return run


def need_torch() -> None:
    """Say in one sentence that PyTorch is missing.

    Raises:
        BackendError: it is.
    """
    try:
        import torch  # noqa: F401  only to know
    except ImportError as error:
        raise BackendError(
            f"training needs PyTorch ({error}): pip install 'bimacosr[train]'"
        ) from error


def chosen_recipe(
    stage: Stage | None,
    *,
    recipe: Path | None,
    cfg_path: Path | None,
    photos: tuple[Path, ...],
    overrides: tuple[str, ...],
    autoencoder: Path | None,
    method: str | None = None,
    **weights: Path | None,
) -> TrainRecipe:
    """The recipe as the file and the command line say it together.

    Args:
        stage: The stage of the command; None: that of the recipe's file.
        recipe, cfg_path: The file, one of the two.
        photos, overrides, autoencoder, method: Options of that name.
        weights: Paths of weights, by their name in the recipe.

    Raises:
        OptionError: the file or a setting cannot be used.
    """
    from bimacosr.train.official_recipe import read_official_recipe
    from bimacosr.train.recipe import read_recipe

    if (recipe is None) == (cfg_path is None):
        raise OptionError("name the recipe of the stage: --recipe FILE, or --cfg_path OFFICIAL")
    fixed: dict[str, Any] = {n: None if v is None else str(v) for n, v in weights.items()}
    fixed |= {
        "stage": stage,
        "data.sources": [str(path) for path in photos] or None,
        "model.autoencoder_file": None if autoencoder is None else str(autoencoder),
        "binarize.method": method,
        # the gradients of the rival methods are those of their papers
        "binarize.sign_gradient": "bireal" if method not in (None, "bimacosr") else None,
    }
    if cfg_path is not None:
        if stage is None:
            raise OptionError("an official YAML does not say which stage it is; give a --recipe")
        return read_official_recipe(cfg_path, stage, overrides, fixed)
    assert recipe is not None
    return read_recipe(recipe, overrides, fixed)
