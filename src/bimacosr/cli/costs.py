"""What `bimacosr info --costs` prints: tables of `bimacosr.costs`, or the same as plain data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import click

from bimacosr.errors import BackendError, OptionError

__all__ = ["collect_costs", "print_costs"]

_KIND_COLUMNS = (
    "parameters",
    "float_bytes",
    "packed_bytes",
    "float_macs",
    "one_bit_macs",
    "binary_operations",
)
_PAPER_COLUMNS = {
    "parameters": "parameters",
    "paper_parameters": "for 23.8x",
    "macs": "MACs",
    "paper_macs": "for 27.4x",
}


def collect_costs(model: str, size: str) -> dict[str, Any]:
    """Everything that `info --costs` prints, as plain data.

    Args:
        model: What `bimacosr.costs.subjects.open_subject` takes.
        size: Height and width of the low-quality picture, such as "64x64".

    Raises:
        OptionError: the size is none, or the network cannot run at it.
        ModelError: there is no such model, or its file is damaged.
        BackendError: PyTorch is not installed.
    """
    height, width = _parsed(size)
    try:
        import torch  # noqa: F401  only to say in one sentence that it is missing
    except ImportError as error:
        raise BackendError(
            f"counting needs PyTorch ({error}): pip install 'bimacosr[torch]'"
        ) from error
    from bimacosr.costs.count import count
    from bimacosr.costs.rules import account, by_kind, total
    from bimacosr.costs.subjects import inputs_of, open_subject

    subject = open_subject(model)
    inputs = inputs_of(subject.network, height, width)
    costs = count(subject.network, inputs)
    facts: dict[str, Any] = {
        "model": subject.name,
        "height": height,
        "width": width,
        "file_bytes": subject.file_bytes,
        "kinds": [asdict(row) for row in by_kind(costs)],
        "total": asdict(total(costs)),
    }
    if subject.original is not subject.network:
        original = count(subject.original, inputs)
        compared = account(costs, original)
        facts["original"] = asdict(total(original))
        facts["rule"] = {
            "terms": [asdict(term) for term in compared.terms],
            "sum": asdict(compared.below),
            "divided": asdict(compared.above),
            "ratio": asdict(compared.ratios),
        }
    return facts | {"parts": [asdict(cost) for cost in costs]}


def print_costs(facts: dict[str, Any]) -> None:
    """Print what `collect_costs` gave as tables."""
    size = f"{facts['height']}x{facts['width']}"
    click.echo(f"{facts['model']}, one run at {size} (height x width, low-quality pixels)")
    if facts["file_bytes"] is not None:
        click.echo(f"file: {facts['file_bytes']:,} bytes")
    click.echo("")
    names = ("float32 bytes", "packed bytes", "float MACs", "1-bit MACs", "binary operations")
    rows = [
        (row["kind"] + (", 1-bit" if row["one_bit"] else ""), _whole(row, _KIND_COLUMNS))
        for row in (*facts["kinds"], facts["total"])
    ]
    _print_table(("kind", "parameters", *names), rows)
    if "rule" in facts:
        _print_rule(facts)


def _print_rule(facts: dict[str, Any]) -> None:
    from bimacosr.costs.count import LOW_RANK, SPARSE

    rule, ratio = facts["rule"], facts["rule"]["ratio"]
    click.echo("\nby the paper's rule (a 1-bit weight is 1/32 of a number, a 1-bit MAC 1/64),")
    columns = {"parameters": "parameters", "macs": "MACs"}
    if {LOW_RANK, SPARSE} <= {row["kind"] for row in facts["kinds"]}:  # the paper's own method
        click.echo("everything counted, and with what its 23.8x and 27.4x count (docs/costs.md):\n")
        columns = _PAPER_COLUMNS
    else:
        click.echo("everything counted:\n")
    rows = [
        (row["name"], _whole(row, columns))
        for row in (*rule["terms"], rule["sum"], rule["divided"])
    ]
    rows.append(("ratio", [f"{ratio[column]:.2f}x" for column in columns]))
    _print_table(("term", *columns.values()), rows)
    before, after = facts["original"]["float_bytes"], facts["total"]["packed_bytes"]
    click.echo("\nby real bytes:")
    click.echo(
        f"float network in float32 {before:,} / packed {after:,} = {before / after:.2f}x"
        f" ({before / 2 / after:.2f}x from float16)"
    )


def _whole(row: dict[str, Any], columns: Iterable[str]) -> list[str]:
    return [f"{row[column]:,.0f}" for column in columns]


def _print_table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> None:
    """First column to the left, all others to the right, each as wide as it must be."""
    lines = [list(head), *([name, *cells] for name, cells in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        click.echo("  ".join([line[0].ljust(widths[0]), *cells]))


def _parsed(size: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", size)
    if found is None:
        raise OptionError(f"the size is {size!r}; give height and width in pixels, such as 64x64")
    return int(found[1]), int(found[2])
