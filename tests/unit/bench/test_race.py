"""Everybody runs in turn, as often as asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bimacosr.bench import race as module
from bimacosr.bench.race import race


class Clock:
    """Time that passes only when a contestant works; half of it is processor time."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.order: list[str] = []

    def perf_counter(self) -> float:
        """Wall seconds."""
        return self.seconds

    def process_time(self) -> float:
        """Processor seconds."""
        return self.seconds / 2

    def worker(self, name: str, seconds: float) -> Callable[[], None]:
        """A contestant whose run takes that long."""

        def run() -> None:
            self.seconds += seconds
            self.order.append(name)

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_contestants_take_turns(clock: Clock) -> None:
    samples = race({"a": clock.worker("a", 6), "b": clock.worker("b", 7)}, 3)
    assert clock.order[2:] == ["a", "b"] * 3  # after one run each that is not timed
    assert [sample.wall for sample in samples["b"]] == [7, 7, 7]
    assert [sample.cpu for sample in samples["a"]] == [3, 3, 3]


def test_the_quick_find_their_caches_warm_whoever_ran_before(clock: Clock) -> None:
    samples = race({"quick": clock.worker("quick", 2), "slow": clock.worker("slow", 9)}, 2)
    assert clock.order[3:] == ["quick", "quick", "slow"] * 2
    assert [sample.wall for sample in samples["quick"]] == [2, 2]


def test_short_runs_are_repeated_and_counted_once(clock: Clock) -> None:
    samples = race({"a": clock.worker("a", 0.0078125)}, 2)
    assert len(clock.order) == 2 + 2 * (1 + 3)
    assert [sample.wall for sample in samples["a"]] == [0.0078125] * 2


def test_the_slow_sit_out_when_their_time_is_up(clock: Clock) -> None:
    runs = {"quick": clock.worker("quick", 6), "slow": clock.worker("slow", 50)}
    samples = race(runs, 4, budget_s=60)
    assert {name: len(timed) for name, timed in samples.items()} == {"quick": 4, "slow": 1}


def test_everybody_is_timed_once_whatever_it_takes(clock: Clock) -> None:
    samples = race({"slow": clock.worker("slow", 1000)}, 3, budget_s=1)
    assert [sample.wall for sample in samples["slow"]] == [1000]
