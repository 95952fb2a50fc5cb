"""The full-size student, 118.6 million parameters, against the official one in states A, B and C.

The network is built once and then refilled: the tests of a state run together.
"""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import Tensor

from bimacosr.networks.unet import UNetModelSwin
from tests.golden import reference as ref
from tests.golden import students
from tests.golden.time_embedding import feed_stored_time_embedding

NAME = "student_full"
RUNS = ("t14", "rect")

pytestmark = pytest.mark.slow


@cache
def converted() -> UNetModelSwin:
    return students.build(NAME, torch.float64)


@pytest.fixture(scope="module", params=["A", "B", "C"])
def student(request: pytest.FixtureRequest) -> tuple[str, UNetModelSwin]:
    """The one network, put into the state asked for; A comes first, B and C overwrite it."""
    state: str = request.param
    network = converted()
    if state != "A":
        students.fill(network, state)
    return state, network


@pytest.fixture(autouse=True)
def stored_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    feed_stored_time_embedding(monkeypatch)


@pytest.mark.parametrize("student", ["A"], indirect=True, scope="module")
def test_initialisation(student: tuple[str, UNetModelSwin]) -> None:
    students.check_initialisation(student[1], NAME)


@torch.no_grad()
@pytest.mark.parametrize("run", RUNS)
def test_float64(student: tuple[str, UNetModelSwin], run: str) -> None:
    """The output; of the small run, and of state A, every layer too; C then in float32.

    All layers of the larger run in B and C would take long for what the tiny student shows.
    """
    state, network = student
    told = students.facts(NAME, state, run)
    every_layer = run == "t14" or state == "A"
    with (
        students.measured(network, told["layers_f64"] if every_layer else {}) as found,
        students.recorded_signs(network, students.golden(NAME)["replaced"]) as signs,
    ):
        out = network(*students.inputs_of(NAME, state, run, torch.float64))
    assert ref.deviation(out, ref.tensors(NAME)[f"{state}/{run}/out"]) < ref.F64
    assert ref.statistics_deviation(out, told["out_stats"]) < students.STATISTICS
    assert sum(s.numel() for s in signs.values()) == told["activations_total"]
    if every_layer:
        students.check_layers(found, NAME, state, run)
    if state == "C":
        check_float32(network, run, signs)


def check_float32(network: UNetModelSwin, run: str, signs: dict[str, Tensor]) -> None:
    """State C rounded to float32 gives the same output, and no activation has another sign."""
    assert students.facts(NAME, "C", run)["flips_total"] == 0
    narrow = copy.deepcopy(network).float()
    with students.recorded_signs(narrow, signs) as rounded:
        out = narrow(*students.inputs_of(NAME, "C", run, torch.float32))
    assert ref.deviation(out, ref.tensors(NAME)[f"C/{run}/out"]) < ref.F32_NETWORK
    assert all(torch.equal(rounded[name], signs[name]) for name in signs)
