"""The training loop: it knows phases, optimisers, averages and stops, and nothing of diffusion.

    for each step:  batch -> loss -> gradient -> optimiser -> average -> log -> checkpoint

Everything random is a function of the seed and the step, and the optimiser is made afresh with
each phase; so a run that goes on from a checkpoint ends at the same weights as one unbroken.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bimacosr.config.train import TrainRecipe
from bimacosr.data.loading import Batch
from bimacosr.train.checkpoint import write_checkpoint
from bimacosr.train.distributed import World
from bimacosr.train.draws import StepDraws
from bimacosr.train.ema import Average
from bimacosr.train.failure import stop_at_nan
from bimacosr.train.feed import Feed
from bimacosr.train.objective import Gradients
from bimacosr.train.parameters import choose_trained, load_optimiser, make_optimisers
from bimacosr.train.recipe import plain_recipe
from bimacosr.train.samples import sample_strip
from bimacosr.train.schedule import learning_rate, phase_at
from bimacosr.train.stage import Stage
from bimacosr.train.stopping import Stop
from bimacosr.train.watch import Line, Sampled, Stepped, Watcher

__all__ = ["Trainer"]


class Trainer:
    """The state of a run, and its steps.

    Args:
        stage: What is trained; its modules are on the device of `world`.
        recipe: How.
        feed: The batches.
        run: Folder of the run.
        world: The processes.
        watchers: Who is told, in process 0.
    """

    def __init__(
        self,
        stage: Stage,
        recipe: TrainRecipe,
        feed: Feed,
        run: Path,
        world: World,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self.stage, self.recipe, self.feed, self.run, self.world = stage, recipe, feed, run, world
        self.watchers = list(watchers)
        self.average = Average(stage.network, recipe.optimiser.ema)
        self.step = 0
        self.saved: Path | None = None
        self._phase = -1
        if recipe.compile:
            stage.network.compile()

    # ------------------------------------------------------------ state

    def restore(self, parts: dict[str, Any], path: Path) -> None:
        """Take up the state of a checkpoint, see `write_checkpoint`.

        What is trained beside the network and known to only one of the two, after a change of the
        course, begins anew.
        """
        self.step, self.saved = parts["step"], path
        self.stage.network.load_state_dict(parts["network"])
        self.average.network.load_state_dict(parts["average"])
        self.stage.helpers.load_state_dict(parts["helpers"], strict=False)
        torch.set_rng_state(parts["rng"])
        phase, local = phase_at(self.recipe.phases, self.step)
        if local:  # else the phase begins, with an optimiser of its own
            self._enter(phase)
            for optimiser, state in zip(self._optimisers, parts["optimisers"], strict=False):
                load_optimiser(optimiser, state, path)

    def save(self) -> None:
        """Write a checkpoint, from process 0."""
        if self.world.leads:
            parts = {
                "recipe": plain_recipe(self.recipe),
                "step": self.step,
                "samples": self.step * self.recipe.batch,
                "network": self.stage.network.state_dict(),
                "average": self.average.network.state_dict(),
                "helpers": self.stage.helpers.state_dict(),
                "optimisers": [o.state_dict() for o in self._optimisers],
                "rng": torch.get_rng_state(),
            }
            self.saved = write_checkpoint(self.run, parts, self.recipe.log.keep)
        self.world.wait()

    # ------------------------------------------------------------ the loop

    def train(self, stop: Stop) -> bool:
        """Go on to the end of the course, or until `stop`; whether the end was reached.

        The state is saved now and then, and at the end.

        Raises:
            TrainingError: the loss is no number any more.
            WriteError: a checkpoint or a log cannot be written.
        """
        steps, log = self.recipe.steps, self.recipe.log
        pace = _Pace(self.feed, self.recipe.batch)
        if self.step < steps and not self.step:
            self._show()
        for batch in self.feed.batches(self.step, steps):
            terms, rate, norm = self._advance(batch)
            stopping = self._agreed(stop.wanted)
            pace.count(terms)
            self._tell(Stepped(self.step))
            last = stopping or self.step == steps
            next_phase = phase_at(self.recipe.phases, self.step)[0] != self._phase
            if self.step % log.every == 0 or last or next_phase:
                name = self.recipe.phases[self._phase].name
                self._tell(pace.line(self.step, steps, name, rate, norm))
            if log.pictures_every and (self.step % log.pictures_every == 0 or last):
                self._show()
            if self.step % log.save_every == 0 or last:
                self.save()
            if stopping:
                break
        return self.step >= steps

    def _advance(self, batch: Batch) -> tuple[dict[str, float], float, float]:
        """One step: the terms of its loss, its learning rate, the norm of its gradient."""
        number, local = phase_at(self.recipe.phases, self.step)
        if number != self._phase:
            self._enter(number)
        phase = self.recipe.phases[number]
        rate = learning_rate(phase, local)
        for group in self._optimisers[0].param_groups:
            group["lr"] = rate
        draws = StepDraws(self.recipe.seed, self.step, batch.index.tolist(), self.world.device)
        for optimiser in self._optimisers:
            optimiser.zero_grad(set_to_none=True)
        terms = self._gradients.add(batch, draws, phase)
        clip = self.recipe.optimiser.clip or math.inf
        norm = float(nn.utils.clip_grad_norm_(self.stage.network.parameters(), clip))
        means = self.world.mean(torch.stack(list(terms.values())).double()).tolist()
        told = dict(zip(terms, means, strict=True))
        if not all(map(math.isfinite, (*means, norm))):
            raise self._failed(batch, told, norm)
        for optimiser in self._optimisers:
            optimiser.step()
        self.average.update(self.stage.network, self.step)
        self.step += 1
        return told, rate, norm

    def _enter(self, number: int) -> None:
        """Begin a phase: what it trains, a fresh optimiser, DDP over what has a gradient."""
        self._phase = number
        choose_trained(self.stage, self.recipe, self.recipe.phases[number])
        self._optimisers = make_optimisers(self.stage, self.recipe.optimiser)
        self._gradients = Gradients(self.stage, self.world, self.recipe.accumulate)

    def _agreed(self, wanted: bool) -> bool:
        """Whether any process wants it."""
        return bool(self.world.mean(torch.tensor(float(wanted), device=self.world.device)) > 0)

    def _show(self) -> None:
        log = self.recipe.log
        if self.world.leads and log.pictures_every and self.watchers:
            batch = self.feed.sample(log.pictures)
            draws = StepDraws(self.recipe.seed, 0, batch.index.tolist(), self.world.device)
            result = self.stage.result(self.average.network, batch, draws)
            self._tell(Sampled(self.step, sample_strip(batch, result)))

    def _tell(self, event: Stepped | Line | Sampled) -> None:
        for watcher in self.watchers:
            watcher(event)

    def _failed(self, batch: Batch, terms: dict[str, float], norm: float) -> Exception:
        return stop_at_nan(
            self.run,
            rank=self.world.rank,
            step=self.step,
            terms=terms,
            gradient_norm=norm,
            network=self.stage.network,
            samples=batch.index.tolist(),
            pictures=self.feed.sources(batch),
            last_good=self.saved,
        )


class _Pace:
    """Means and speed between two lines of the log."""

    def __init__(self, feed: Feed, batch: int) -> None:
        self.feed, self.batch = feed, batch
        self.recent: deque[float] = deque(maxlen=5)  # seconds a step, of the last lines
        self._begin()

    def _begin(self) -> None:
        self.began, self.waited = time.monotonic(), self.feed.waited_seconds
        self.steps, self.sums = 0, dict[str, float]()

    def count(self, terms: dict[str, float]) -> None:
        """One more step."""
        self.steps += 1
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def line(self, step: int, steps: int, phase: str, rate: float, norm: float) -> Line:
        """The line of the steps that were counted; counting begins anew."""
        seconds = max(1e-9, time.monotonic() - self.began)
        self.recent.append(seconds / self.steps)
        line = Line(
            step=step,
            phase=phase,
            terms={name: value / self.steps for name, value in self.sums.items()},
            rate=rate,
            gradient_norm=norm,
            images_per_second=self.steps * self.batch / seconds,
            waiting=min(1.0, (self.feed.waited_seconds - self.waited) / seconds),
            seconds_left=(steps - step) * sum(self.recent) / len(self.recent),
        )
        self._begin()
        return line
