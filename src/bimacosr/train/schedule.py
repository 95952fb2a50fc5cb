"""The course of a training: which phase a step belongs to, and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bimacosr.config.train import PhaseSettings

__all__ = ["learning_rate", "phase_at"]


def phase_at(phases: Sequence[PhaseSettings], step: int) -> tuple[int, int]:
    """Number of the phase that `step` belongs to, and the step's number in it.

    After the last step it is the last phase's end.
    """
    for number, phase in enumerate(phases):
        if step < phase.steps or number == len(phases) - 1:
            return number, step
        step -= phase.steps
    raise ValueError("a training has at least one phase")


def learning_rate(phase: PhaseSettings, step: int) -> float:
    """The rate of a step of the phase, counted from 0.

    It rises over the warm-up, and falls at the same time along a cosine from the whole rate to
    `final_rate` of it, or by half after each milestone.
    """
    rising = min(1.0, (step + 1) / phase.warmup) if phase.warmup else 1.0
    if phase.schedule == "halving":
        falling = 0.5 ** sum(step >= milestone for milestone in phase.milestones)
    else:
        cosine = 0.5 * (1 + math.cos(math.pi * step / phase.steps))
        falling = phase.final_rate + (1 - phase.final_rate) * cosine
    return phase.learning_rate * rising * falling
