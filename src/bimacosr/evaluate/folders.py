"""Folders of results against a folder of originals, or by themselves: `bimacosr evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bimacosr.config.evaluate import EvaluateSettings
from bimacosr.errors import OptionError
from bimacosr.evaluate.choice import Choice, choose
from bimacosr.evaluate.measure import Task, measure_set
from bimacosr.evaluate.pairing import pair
from bimacosr.evaluate.pictures import BICUBIC, Method, bicubic_of, check_device, results_in
from bimacosr.evaluate.tables import plain
from bimacosr.evaluate.tally import Tally

__all__ = ["Evaluation", "Folders", "evaluate_folders", "find_methods"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Folders:
    """Where the pictures lie."""

    results: Mapping[str, Path]
    """Name of the method to its folder, one at least."""
    hr: Path | None = None
    """Originals."""
    lr: Path | None = None
    """Small pictures: with them, bicubic x4 is measured too, and colours are compared with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What was found."""

    choice: Choice
    """The metrics."""
    tallies: dict[str, Tally]
    """By method."""
    common: tuple[str, ...]
    """The pictures that every method has: those that the figures of a set are of."""
    border_px: int
    """What PSNR and SSIM left out at each edge."""
    problems: tuple[str, ...]
    """A sentence for each picture that was not measured."""

    def record(self) -> dict[str, Any]:
        """Everything for JSON."""
        return {
            "conventions": self.choice.conventions(self.border_px),
            "crop_border": self.border_px,
            "pictures": list(self.common),
            "methods": {m: plain(tally, self.common) for m, tally in self.tallies.items()},
            "problems": list(self.problems),
        }


def evaluate_folders(
    folders: Folders,
    settings: EvaluateSettings,
    *,
    tell: Callable[[str], None],
    note: Callable[[str], None],
    start: Callable[[int], None] = lambda names: None,
    step: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Pair, measure and gather.

    Args:
        folders: Where the pictures lie.
        settings: What is measured.
        tell: Gets a sentence about each picture that cannot be paired or measured.
        note: Gets what the user should know though nothing failed.
        start: Gets the number of pictures, before the first is measured.
        step: Called after each picture.

    Raises:
        OptionError: a folder or metric cannot be used, or no picture could be measured.
        ModelError: a weight file is missing or damaged.
        BackendError: the device or what computes a metric is not there.
    """
    problems: list[str] = []

    def problem(sentence: str) -> None:
        problems.append(sentence)
        tell(sentence)

    check_device(settings.metric.device)
    choice = choose(settings, originals=folders.hr is not None)
    for sentence in choice.notices:
        note(sentence)
    scores, set_scores = choice.load(settings.metric)
    methods, originals, names = find_methods(folders, problem)
    task = Task(
        methods=methods,
        metrics=choice.metrics,
        scores=scores,
        originals=originals,
        set_scores=set_scores,
        device=settings.metric.device,
    )
    start(len(names))
    tallies = measure_set(task, names, settings.threads, tell=problem, step=step)
    common = tuple(n for n in names if all(n in tally.pictures for tally in tallies.values()))
    if not common:
        raise OptionError("no picture could be measured for every method, so there are no figures")
    return Evaluation(
        choice=choice,
        tallies=tallies,
        common=common,
        border_px=settings.metric.border_px,
        problems=tuple(problems),
    )


def find_methods(
    folders: Folders, tell: Callable[[str], None]
) -> tuple[dict[str, Method], dict[str, Path] | None, list[str]]:
    """Pair the folders: the methods by name, bicubic first; the originals; all names.

    Without originals the small pictures give the names, and without these the first results.

    Raises:
        OptionError: a folder is none, holds no pictures, or none that belongs to another one's; or
            a method is called bicubic.
    """
    if BICUBIC in folders.results and folders.lr is not None:
        raise OptionError(f"with --lr, {BICUBIC} is measured anyway; call the results differently")
    given: dict[tuple[str, str], Path] = {}
    for role, folder in (("hr", folders.hr), ("lr", folders.lr)):
        if folder is not None:
            given[role, ""] = folder
    given |= {("sr", name): folder for name, folder in folders.results.items()}
    paired = pair(given, tell)
    methods = {BICUBIC: bicubic_of(paired["lr", ""])} if folders.lr is not None else {}
    methods |= {name: results_in(paired["sr", name]) for name in folders.results}
    return methods, paired.get(("hr", "")), list(next(iter(paired.values())))
