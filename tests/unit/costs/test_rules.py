"""Sums by kind and by the paper's rule, on numbers small enough to add up by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bimacosr.costs.count import Cost
from bimacosr.costs.rules import account, by_kind, macs_by_rule, parameters_by_rule, total

CONV = Cost(
    layer="a",
    kind="3x3 convolution",
    one_bit=True,
    parameters=3200,
    macs=6400,
    binary_operations=12800,
    float_bytes=12800,
    packed_bytes=500,
)
STUDENT = [
    Cost(layer="first", kind="5x5 convolution", parameters=10, macs=20, packed_bytes=20),
    CONV,
    Cost(layer="a", kind="bias", parameters=7),
    Cost(layer="a.lora.A", kind="low-rank branch", parameters=40, macs=80),
    Cost(layer="a.skip_connection", kind="sparse branch", parameters=6, macs=60),
    Cost(layer="a.relu", kind="activation and offset", parameters=9),
    Cost(layer="b", kind="attention products", macs=300),
    Cost(layer="b", kind="position table", parameters=2),
    Cost(layer="c", kind="linear", parameters=5, macs=4),
    replace(CONV, layer="d"),
    Cost(layer="n", kind="norm", parameters=3),
]
FLOAT = [Cost(layer="a", kind="linear", parameters=6000, macs=13000)]


def test_one_bit_counts_a_32nd_and_a_64th() -> None:
    assert parameters_by_rule([CONV]) == 100
    assert macs_by_rule([CONV]) == 100
    assert parameters_by_rule(STUDENT) == 200 + 10 + 7 + 40 + 6 + 9 + 2 + 5 + 3
    assert macs_by_rule(STUDENT) == 200 + 20 + 80 + 60 + 300 + 4


def test_rows_are_sums_and_1_bit_comes_first() -> None:
    rows = by_kind(STUDENT)
    assert [row.kind for row in rows] == [
        "3x3 convolution",
        "linear",
        "attention products",
        "low-rank branch",
        "sparse branch",
        "activation and offset",
        "bias",
        "norm",
        "position table",
        "5x5 convolution",
    ]
    assert [row.one_bit for row in rows] == [True] + 9 * [False]
    first = rows[0]
    assert (first.parts, first.parameters, first.packed_bytes) == (2, 6400, 1000)
    assert (first.one_bit_macs, first.float_macs, first.binary_operations) == (12800, 0, 25600)
    whole = total(STUDENT)
    assert whole.kind == "all"
    for field in ("parts", "parameters", "float_macs", "one_bit_macs", "float_bytes"):
        assert getattr(whole, field) == sum(getattr(row, field) for row in rows)


def test_the_account_counts_everything_and_what_the_paper_counts() -> None:
    compared = account(STUDENT, FLOAT)
    told = {
        term.name: (term.parameters, term.paper_parameters, term.macs, term.paper_macs)
        for term in compared.terms
    }
    assert told == {
        "1-bit weights, 1/32 and 1/64": (200, 200, 200, 200),
        "float weights": (15, 15, 24, 24),
        "low-rank branch": (40, 40, 80, 80),
        "sparse branch": (6, 3, 60, 30),
        "attention products": (0, 0, 300, 0),
        "activation and offset": (9, 0, 0, 0),
        "bias": (7, 0, 0, 0),
        "norm and position table": (5, 0, 0, 0),
    }
    below = compared.below
    assert below.parameters == parameters_by_rule(STUDENT)
    assert below.macs == macs_by_rule(STUDENT)
    assert (below.paper_parameters, below.paper_macs) == (258, 334)
    ratios = compared.ratios
    assert ratios.parameters == pytest.approx(6000 / 282)
    assert ratios.paper_parameters == pytest.approx(total(STUDENT).parameters / 258)
    assert ratios.macs == pytest.approx(13000 / 664)
    assert ratios.paper_macs == pytest.approx(13000 / 334)
