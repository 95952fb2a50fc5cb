"""Let contestants run in turn, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from bimacosr.bench.samples import Sample

__all__ = ["Run", "race"]

Run = Callable[[], object]
"""Does the work once."""

SHORTEST_S = 0.02
"""What takes less is done several times in a row: below, clocks and first touches show."""

MOST_REPEATS = 1000

SHORT_S = 5
"""What takes less runs once untimed whenever its turn comes: much of its time would go by while its
data come back into the caches that whoever ran before it has filled."""


def race(
    runs: Mapping[str, Run], rounds: int, *, budget_s: float = math.inf
) -> dict[str, list[Sample]]:
    """Time every contestant once in every round.

    Args:
        runs: What each contestant does. Each runs once or twice before the first round; what takes
            less than `SHORT_S` also runs once untimed before it is timed, in every round.
        rounds: Rounds, at least 1.
        budget_s: Wall seconds for each contestant; one that has used them up sits out, after its
            first round at the earliest.

    Returns:
        The timings of each contestant, at least one, in the order of the rounds.
    """
    repeats, used, short = {}, {}, set()
    for name, run in runs.items():
        seconds = _timed(run, 1).wall
        used[name] = seconds
        if seconds < SHORT_S:  # the first run makes ready what later ones find
            seconds = _timed(run, 1).wall
            short.add(name)
        repeats[name] = min(MOST_REPEATS, math.ceil(SHORTEST_S / max(seconds, 1e-9)))
    samples: dict[str, list[Sample]] = {name: [] for name in runs}
    for number in range(rounds):
        for name, run in runs.items():
            if number and used[name] >= budget_s:
                continue
            if name in short:
                run()
            sample = _timed(run, repeats[name])
            used[name] += sample.wall * repeats[name]
            samples[name].append(sample)
    return samples


def _timed(run: Run, repeats: int) -> Sample:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Sample(wall=wall / repeats, cpu=cpu / repeats)
