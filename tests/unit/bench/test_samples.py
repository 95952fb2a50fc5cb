"""Medians, ratios and means from timings that are given."""

from __future__ import annotations

import pytest

from bimacosr.bench.samples import Sample, fastest, geometric_mean, quartiles, ratio


def timed(*cpu: float) -> list[Sample]:
    """Timings whose wall time is ten times their processor time."""
    return [Sample(cpu=seconds, wall=10 * seconds) for seconds in cpu]


def test_quartiles_are_those_of_the_numbers() -> None:
    found = quartiles([5, 1, 3, 2, 4])
    assert (found.low, found.median, found.high) == (2, 3, 4)


def test_one_number_is_all_its_quartiles() -> None:
    found = quartiles([7])
    assert (found.low, found.median, found.high) == (7, 7, 7)


def test_a_ratio_compares_within_each_round() -> None:
    """The machine was ten times slower in the second round, for both alike."""
    found = ratio(timed(4, 60, 8), timed(2, 20, 2), "cpu")
    assert (found.low, found.median, found.high) == (2.5, 3, 3.5)


def test_a_ratio_leaves_out_rounds_that_only_one_ran() -> None:
    assert ratio(timed(6), timed(2, 1, 1), "wall").median == 3


def test_the_clock_is_chosen() -> None:
    ours = [Sample(cpu=1, wall=4)]
    theirs = [Sample(cpu=6, wall=8)]
    assert ratio(theirs, ours, "cpu").median == 6
    assert ratio(theirs, ours, "wall").median == 2


def test_the_fastest_has_the_smallest_median_not_the_smallest_run() -> None:
    assert fastest({"lucky": timed(1, 9, 9), "steady": timed(3, 3, 3)}, "cpu") == "steady"


def test_the_mean_of_ratios_is_geometric() -> None:
    assert geometric_mean([0.5, 2, 8]) == pytest.approx(2)
