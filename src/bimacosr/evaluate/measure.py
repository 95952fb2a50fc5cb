"""Runs methods and metrics over the pictures of a set; every picture is a job of its own.

A picture is measured by one worker with PyTorch on one thread, and the results are taken in the
order of the names: the number of workers changes no figure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bimacosr.errors import BimacosrError
from bimacosr.evaluate.pictures import (
    BICUBIC,
    Method,
    Picture,
    check_sizes,
    read_rgb,
    to_batch,
)
from bimacosr.evaluate.tally import Tally, Values
from bimacosr.io.failures import shown
from bimacosr.io.parallel import in_order
from bimacosr.metrics.metric import Metric, Score, SetScore

__all__ = ["ORIGINAL", "Task", "measure_set"]

ORIGINAL = "original"
"""What an original is called where methods have names."""

Show = Callable[[str, str, Picture], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What is measured of what."""

    methods: Mapping[str, Method]
    """By name; colours are compared with what is called bicubic, which comes first."""
    metrics: Mapping[str, Metric]
    """Those to measure; without originals none of them needs one."""
    scores: Mapping[str, Score]
    """The same, loaded."""
    originals: Mapping[str, Path] | None = None
    """Name to file; None: there are none."""
    set_scores: Mapping[str, SetScore] = field(default_factory=dict)
    """Metrics of sets, loaded."""
    device: str = "cpu"
    """Where the metrics are."""


@dataclass(slots=True)
class _Outcome:
    """One picture by every method."""

    name: str
    pictures: dict[str, Picture] = field(default_factory=dict)
    values: dict[str, Values] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def measure_set(
    task: Task,
    names: Sequence[str],
    workers: int = 1,
    *,
    tell: Callable[[str], None],
    show: Show = lambda method, name, picture: None,
    step: Callable[[], None] = lambda: None,
) -> dict[str, Tally]:
    """Measure every method on the pictures called `names`.

    Args:
        task: What to measure.
        names: In the order of the results.
        workers: Pictures at a time.
        tell: Gets a sentence about each picture that cannot be made or measured.
        show: Gets method, name and picture of each result, in order; `ORIGINAL` last.
        step: Called after each name.

    Returns:
        Method to tally. What failed is not in it.
    """
    tallies = {method: Tally(task.metrics) for method in task.methods}
    with _one_thread(), closing(_outcomes(task, names, workers)) as outcomes:
        for outcome in outcomes:
            for problem in outcome.problems:
                tell(problem)
            for method, values in outcome.values.items():
                tallies[method].pictures[outcome.name] = values
            for method, picture in outcome.pictures.items():
                show(method, outcome.name, picture)
            step()
        for method, tally in tallies.items():
            _measure_files(task, method, tally, tell)
    return tallies


def _outcomes(task: Task, names: Sequence[str], workers: int) -> Generator[_Outcome, None, None]:
    if workers == 1:
        yield from (_measure_one(task, name) for name in names)
    else:
        with closing(in_order(lambda name: _measure_one(task, name), names, workers)) as found:
            yield from found


def _measure_one(task: Task, name: str) -> _Outcome:
    outcome = _Outcome(name)
    with _reported(name, outcome.problems):
        hr = None if task.originals is None else read_rgb(task.originals[name])
        for method in task.methods:
            if name in task.methods[method].names:
                with _reported(f"{name} by {method}", outcome.problems):
                    _measure_method(task, method, hr, outcome)
        if hr is not None:
            outcome.pictures[ORIGINAL] = hr
    return outcome


def _measure_method(task: Task, method: str, hr: Picture | None, outcome: _Outcome) -> None:
    name = outcome.name
    start = time.perf_counter()
    sr = task.methods[method].make(name)
    seconds = time.perf_counter() - start
    bicubic = outcome.pictures.get(BICUBIC) if method != BICUBIC else None
    for other, what in ((hr, "its original"), (bicubic, "bicubic x4")):
        if other is not None:
            check_sizes(sr, other, name, method, what)
    values = _score(task, sr, hr)
    means = sr.mean((0, 1))
    if bicubic is not None:
        values |= _by_channel("shift", means - bicubic.mean((0, 1)))
    if hr is None and BICUBIC in task.methods:
        values |= _by_channel("mean", means)
    if task.methods[method].files is None:  # the time to read a file is nobody's merit
        values["seconds"] = (seconds,)
    outcome.pictures[method], outcome.values[method] = sr, values


def _by_channel(name: str, rgb: NDArray[np.float64]) -> Values:
    return {f"{name}_{c}": (value,) for c, value in zip("RGB", rgb.tolist(), strict=True)}


def _score(task: Task, sr: Picture, hr: Picture | None) -> Values:
    result = to_batch(sr, task.device)
    original: Tensor | None = None if hr is None else to_batch(hr, task.device)
    with torch.no_grad():
        found = {key: score(result, original) for key, score in task.scores.items()}
    return {key: tuple(value.double().flatten().tolist()) for key, value in found.items()}


def _measure_files(task: Task, method: str, tally: Tally, tell: Callable[[str], None]) -> None:
    """The metrics of sets, of those pictures that could be measured."""
    files, originals, problems = task.methods[method].files, task.originals, list[str]()
    if files is None or originals is None or not tally.pictures:
        return
    for key, score in task.set_scores.items():
        with _reported(f"{key} of {method}", problems):
            names = list(tally.pictures)
            tally.of_set[key] = score([files[n] for n in names], [originals[n] for n in names])
    for problem in problems:
        tell(problem)


@contextmanager
def _reported(subject: str, problems: list[str]) -> Iterator[None]:
    """Turn what goes wrong inside into a sentence that names `subject`."""
    try:
        yield
    except BimacosrError as error:
        message = str(error)
        problems.append(message if subject.split(" by ")[0] in message else f"{subject}: {message}")
    except MemoryError:
        problems.append(f"{shown(subject)} does not fit in memory; take fewer --workers")
    except Exception as error:  # a defect of ours must not stop the others
        problems.append(
            f"{shown(subject)}: internal error ({type(error).__name__}: {error}); please report it"
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """PyTorch on one thread: sums in one order, and workers that do not fight for processors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
