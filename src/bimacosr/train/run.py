"""One run of a stage, from its recipe to its last checkpoint: the spine of the training.

recipe -> world -> stage, pictures -> checkpoint to resume from -> Trainer.train
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimacosr.config.train import TrainRecipe
from bimacosr.data.loading import TrainingPairs
from bimacosr.errors import OptionError, TrainingError
from bimacosr.io.atomic import atomic_file
from bimacosr.train.build import build_stage
from bimacosr.train.checkpoint import list_checkpoints, newest_checkpoint, read_checkpoint
from bimacosr.train.distributed import World, open_world
from bimacosr.train.feed import Feed
from bimacosr.train.logs import JsonLog, has_tensorboard, sample_folder, tensorboard_log
from bimacosr.train.loop import Trainer
from bimacosr.train.progress import progress_bar
from bimacosr.train.recipe import plain_recipe, recipe_text
from bimacosr.train.stopping import Stop, stopping
from bimacosr.train.watch import Watcher

__all__ = ["Outcome", "run_training"]

Notice = Callable[[str], None]

_FIXED = ("stage", "model", "diffusion", "binarize", "seed")
"""Settings that a run keeps to its end; the others may change when it is resumed."""


_PLACES = ("teacher", "start", "picture_teacher", "loss_weights", "pool_folder", "log")


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    finished: bool
    """Whether the course is done; otherwise it was stopped and can be resumed."""

    step: int
    """Steps done."""

    steps: int
    """Steps of the course."""

    checkpoint: Path | None
    """The newest checkpoint."""

    leads: bool
    """Whether this was process 0."""


def run_training(
    recipe: TrainRecipe,
    run: Path,
    *,
    device: str = "auto",
    resume: str | None = None,
    max_minutes: float | None = None,
    loaders: int = 1,
    notice: Notice = lambda _: None,
) -> Outcome:
    """Train a stage by its recipe, or go on with it.

    Args:
        recipe: What to do.
        run: Folder for checkpoints, logs and samples.
        device: "auto", "cpu" or "cuda".
        resume: "auto" (the newest checkpoint of `run`, if there is one), or a checkpoint.
        max_minutes: Save and stop after this long.
        loaders: Threads that make batches.
        notice: Told in a sentence what the user should know; in process 0.

    Raises:
        BimacosrError: something is missing, does not fit, or went wrong; what was saved stays.
    """
    if resume is None and list_checkpoints(run):
        raise OptionError(
            f"the folder {run} holds a run already: go on with it by --resume auto, or give another"
        )
    with open_world(device) as world, stopping(max_minutes) as stop:
        # in a function of its own, so that nothing of it is left when the processes part
        return _train(recipe, run, resume, loaders, notice, world, stop)


def _train(
    recipe: TrainRecipe,
    run: Path,
    resume: str | None,
    loaders: int,
    notice: Notice,
    world: World,
    stop: Stop,
) -> Outcome:
    with ExitStack() as stack:
        if recipe.batch % world.size:
            raise OptionError(
                f"a batch of {recipe.batch} cannot be shared by {world.size} processes; it must be"
                " a multiple of that"
            )
        tell = notice if world.leads else lambda _: None
        found = find_resumed(run, resume, tell)
        if found is not None:
            check_resumed(recipe, *found, tell)
        stage = build_stage(recipe, run, world.device, tell)
        pairs = open_pairs(recipe, world, tell)
        feed = Feed(pairs, recipe, world, loaders)
        trainer = Trainer(stage, recipe, feed, run, world)
        if found is not None:
            trainer.restore(found[1], found[0])
        if world.leads and trainer.step < recipe.steps:
            trainer.watchers += open_watchers(recipe, run, trainer.step, stack, tell)
        finished = trainer.train(stop)
        return Outcome(finished, trainer.step, recipe.steps, trainer.saved, world.leads)


def find_resumed(
    run: Path, resume: str | None, notice: Notice
) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint to go on from, and its parts; None to begin."""
    if resume is None:
        return None
    if resume != "auto":
        path = Path(resume)
        if not path.is_dir():
            return path, read_checkpoint(path)
        run = path
    newest = newest_checkpoint(run)
    if newest is None:
        return None
    path, parts, complaints = newest
    for complaint in complaints:
        notice(f"{complaint}; going on from {path.name}")
    return path, parts


def check_resumed(recipe: TrainRecipe, path: Path, parts: dict[str, Any], notice: Notice) -> None:
    """See that a checkpoint is of the recipe; settings that may change are told.

    Raises:
        TrainingError: it is of another stage, network or chain.
    """
    ours, theirs = (without_places(r) for r in (plain_recipe(recipe), parts["recipe"]))
    changed = [name for name in ours if ours[name] != theirs.get(name)]
    for name in changed:
        if name in _FIXED:
            raise TrainingError(
                f"{path} cannot be resumed by this recipe: its {name} is another"
                f" ({_difference(theirs.get(name), ours[name])}); take the recipe of that run, or"
                " give the weights as --start of a new one"
            )
    if changed:
        notice(f"the recipe has changed since {path.name}: {', '.join(changed)}")


def without_places(plain: dict[str, Any]) -> dict[str, Any]:
    """A plain recipe without the paths of files that another machine keeps elsewhere."""
    kept = {k: v for k, v in plain.items() if k not in _PLACES}
    for group, name in (("model", "autoencoder_file"), ("data", "sources"), ("data", "cache")):
        kept[group] = {k: v for k, v in kept.get(group, {}).items() if k != name}
    return kept


def open_pairs(recipe: TrainRecipe, world: World, notice: Notice) -> TrainingPairs:
    """The pictures; where a cache of pairs is to be made, process 0 makes it."""
    if world.leads:
        pairs = TrainingPairs(recipe.data, world.device, notice=notice)
        world.wait()
        return pairs
    world.wait()
    return TrainingPairs(recipe.data, world.device)


def open_watchers(
    recipe: TrainRecipe, run: Path, step: int, stack: ExitStack, notice: Notice
) -> list[Watcher]:
    """All that is told of the progress; the recipe is written beside."""
    with atomic_file(run / "recipe.yaml") as file:
        file.write(recipe_text(recipe).encode())
    watchers: list[Watcher] = [JsonLog(run, step), sample_folder(run)]
    if recipe.log.tensorboard and has_tensorboard():
        watchers.append(stack.enter_context(tensorboard_log(run, step)))
    elif recipe.log.tensorboard:
        notice("TensorBoard is not installed (pip install tensorboard): log.jsonl is the only log")
    watchers.append(stack.enter_context(progress_bar(recipe.stage, step, recipe.steps)))
    return watchers


def _difference(theirs: Any, ours: Any) -> str:
    """What differs, as "theirs, not ours", down to the first setting that does."""
    name = ""
    while isinstance(theirs, dict) and isinstance(ours, dict):
        key = next((k for k in ours if ours[k] != theirs.get(k)), None)
        if key is None:
            break
        name, theirs, ours = f"{name}.{key}" if name else key, theirs.get(key), ours[key]
    return f"{name + ' ' if name else ''}{theirs!r}, not {ours!r}"[:160]
