"""Sums over the counted parts: by kind, by the paper's rule, and the paper's two ratios.

The paper's rule counts a 1-bit weight as 1/32 of a number and a 1-bit multiply-add as 1/64 of one.
Which other terms went into its 23.8x and 27.4x the paper does not say. `terms` has them all, and
beside them the only selection found that gives both ratios: see `docs/costs.md`.

Source: BiMaCoSR, arXiv 2502.00333, for the two weights and the two ratios.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bimacosr.costs.count import (
    ATTENTION,
    BIAS,
    EXTRA,
    LINEAR,
    LOW_RANK,
    NORM,
    SHORTCUT,
    SPARSE,
    TABLE,
    Cost,
    convolution,
)

__all__ = [
    "Account",
    "Row",
    "Term",
    "account",
    "by_kind",
    "macs_by_rule",
    "parameters_by_rule",
    "total",
]

_ORDER = (
    convolution(3, 3),
    convolution(1, 1),
    LINEAR,
    ATTENTION,
    LOW_RANK,
    SPARSE,
    SHORTCUT,
    EXTRA,
    BIAS,
    NORM,
    TABLE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """All parts of one kind; the fields are the sums of those of `Cost`."""

    kind: str
    """As in `Cost`; "all" for the sum over everything."""

    one_bit: bool
    """Whether the parts are 1-bit; False for the sum over everything."""

    parts: int
    """How many there are."""

    parameters: int
    """Numbers that training changes."""

    float_macs: int
    """Multiply-adds of floats."""

    one_bit_macs: int
    """Multiply-adds of signs."""

    binary_operations: int
    """XNORs and additions of bits."""

    float_bytes: int
    """Bytes in a float32 checkpoint."""

    packed_bytes: int
    """Bytes in our packed format."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """One term of the sums below the fraction line."""

    name: str
    """What is summed."""

    parameters: float
    """By the rule, with everything counted."""

    paper_parameters: float
    """As the paper's compression ratio needs it."""

    macs: float
    """By the rule, with everything counted."""

    paper_macs: float
    """As the paper's speedup ratio needs it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """A network against the float one it was made of, in the units of the paper's rule."""

    above: Term
    """What is divided: the float network, for the paper's parameters the student itself."""

    terms: tuple[Term, ...]
    """What is added up to divide by."""

    @property
    def below(self) -> Term:
        """The sum of `terms`."""
        return Term(
            name="sum",
            parameters=sum(term.parameters for term in self.terms),
            paper_parameters=sum(term.paper_parameters for term in self.terms),
            macs=sum(term.macs for term in self.terms),
            paper_macs=sum(term.paper_macs for term in self.terms),
        )

    @property
    def ratios(self) -> Term:
        """How many times smaller and less work."""
        below = self.below
        return Term(
            name="ratio",
            parameters=self.above.parameters / below.parameters,
            paper_parameters=self.above.paper_parameters / below.paper_parameters,
            macs=self.above.macs / below.macs,
            paper_macs=self.above.paper_macs / below.paper_macs,
        )


def parameters_by_rule(costs: Iterable[Cost]) -> float:
    """Parameters with 1/32 for each 1-bit weight."""
    return sum(cost.parameters / 32 if cost.one_bit else cost.parameters for cost in costs)


def macs_by_rule(costs: Iterable[Cost]) -> float:
    """Multiply-adds with 1/64 for each one of signs."""
    return sum(cost.macs / 64 if cost.one_bit else cost.macs for cost in costs)


def total(costs: Sequence[Cost], kind: str = "all", *, one_bit: bool = False) -> Row:
    """The sum over `costs`, under the name `kind`."""
    return Row(
        kind=kind,
        one_bit=one_bit,
        parts=len(costs),
        parameters=sum(cost.parameters for cost in costs),
        float_macs=sum(cost.macs for cost in costs if not cost.one_bit),
        one_bit_macs=sum(cost.macs for cost in costs if cost.one_bit),
        binary_operations=sum(cost.binary_operations for cost in costs),
        float_bytes=sum(cost.float_bytes for cost in costs),
        packed_bytes=sum(cost.packed_bytes for cost in costs),
    )


def by_kind(costs: Sequence[Cost]) -> list[Row]:
    """A row for each kind that occurs, 1-bit layers first; other kernels behind the usual ones."""

    def place(group: tuple[str, bool]) -> tuple[bool, int, str]:
        kind, one_bit = group
        return not one_bit, _ORDER.index(kind) if kind in _ORDER else len(_ORDER), kind

    groups = sorted({(cost.kind, cost.one_bit) for cost in costs}, key=place)
    return [
        total([c for c in costs if (c.kind, c.one_bit) == (kind, one_bit)], kind, one_bit=one_bit)
        for kind, one_bit in groups
    ]


def account(costs: Sequence[Cost], original: Sequence[Cost]) -> Account:
    """Compare a binarized network with the float network `original` that it was made of.

    The paper's selection: half of the sparse branch, as if it had max(Cin, Cout) entries, and no
    biases, norms, position tables, activations, offsets and attention products. It divides all
    parameters of the student, not those of the float network; and the multiply-adds of the float
    network with its attention products.
    """
    groups: tuple[tuple[str, float, list[Cost]], ...] = (
        ("1-bit weights, 1/32 and 1/64", 1, [c for c in costs if c.one_bit]),
        ("float weights", 1, _weights_in_float(costs)),
        (LOW_RANK, 1, _of(costs, LOW_RANK)),
        (SPARSE, 0.5, _of(costs, SPARSE)),
        (SHORTCUT, 0, _of(costs, SHORTCUT)),
        (ATTENTION, 0, _of(costs, ATTENTION)),
        (EXTRA, 0, _of(costs, EXTRA)),
        (BIAS, 0, _of(costs, BIAS)),
        ("norm and position table", 0, _of(costs, NORM, TABLE)),
    )
    return Account(
        above=Term(
            name="divided",
            parameters=total(original).parameters,
            paper_parameters=total(costs).parameters,
            macs=total(original).float_macs,
            paper_macs=total(original).float_macs,
        ),
        terms=tuple(_term(name, share, group) for name, share, group in groups if group),
    )


def _of(costs: Sequence[Cost], *kinds: str) -> list[Cost]:
    return [cost for cost in costs if cost.kind in kinds]


def _weights_in_float(costs: Sequence[Cost]) -> list[Cost]:
    """Convolutions and fully connected layers that stayed float, without their biases."""
    kinds = [*(c.kind for c in costs if c.kind.endswith("convolution")), LINEAR]
    return [cost for cost in _of(costs, *kinds) if not cost.one_bit]


def _term(name: str, share: float, costs: list[Cost]) -> Term:
    parameters, macs = parameters_by_rule(costs), macs_by_rule(costs)
    return Term(
        name=name,
        parameters=parameters,
        paper_parameters=share * parameters,
        macs=macs,
        paper_macs=share * macs,
    )
