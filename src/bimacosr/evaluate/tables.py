"""Figures as tables: for a terminal, as markdown, and each picture's in a file.

A column stands where some row has its key. Differences to bicubic stand beside PSNR (dB) and LPIPS
(%), where there is a row of bicubic.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bimacosr.evaluate.pictures import BICUBIC
from bimacosr.evaluate.tally import Tally
from bimacosr.metrics.metric import ARROWS, Metric, SetMetric

__all__ = ["Column", "Row", "columns_of", "gains", "markdown", "plain", "rows_of", "text", "to_csv"]

_DIFFERENCE = ("psnr_y",)
_PERCENT = ("lpips_alex", "lpips_squeeze", "lpips_vgg")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of figures."""

    key: str
    """Where its figure lies in a row."""
    head: str
    """What stands above it."""
    form: str
    """Format of its numbers."""
    higher_is_better: bool | None = None
    """None where no number is better than another."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table."""

    labels: tuple[str, ...]
    """What stands before the figures."""
    figures: dict[str, float]
    """By key."""


def columns_of(
    metrics: Mapping[str, Metric | SetMetric], rows: Sequence[Row], *, arrows: bool = False
) -> list[Column]:
    """The columns that some row has a figure for; arrows say which way is better."""
    columns = []
    for metric in metrics.values():
        arrow = f" {ARROWS[metric.higher_is_better]}" if arrows else ""
        form = f".{metric.digits}f"
        columns.append(Column(metric.name, metric.title + arrow, form, metric.higher_is_better))
        if metric.name in _DIFFERENCE:
            columns.append(Column(f"{metric.name}_gain", "+dB", "+.2f"))
        if metric.name in _PERCENT:
            columns.append(Column(f"{metric.name}_change", "%", "+.1f"))
    columns += [Column(f"shift_{c}", f"shift {c}", "+.2f") for c in "RGB"]
    columns += [Column(f"mean_{c}", f"mean {c}", ".1f") for c in "RGB"]
    columns.append(Column("seconds", "s/picture", ".2f"))
    return [column for column in columns if any(column.key in row.figures for row in rows)]


def rows_of(
    tallies: Mapping[str, Tally], names: Collection[str] | None = None, *labels: str
) -> list[Row]:
    """A row for each method: `labels`, its name, the number of pictures, its figures.

    Args:
        tallies: By method.
        names: The pictures to take; None: all that each method has.
        labels: What stands before the name of the method.
    """
    summaries = {method: tally.summary(names) for method, tally in tallies.items()}
    rows = []
    for method, summary in summaries.items():
        if method != BICUBIC:
            summary = summary | gains(summary, summaries.get(BICUBIC, {}))
        pictures = tallies[method].pictures
        count = len(pictures if names is None else set(pictures) & set(names))
        rows.append(Row((*labels, method, str(count)), summary))
    return rows


def gains(summary: Mapping[str, float], bicubic: Mapping[str, float]) -> dict[str, float]:
    """The differences to bicubic: PSNR in dB, LPIPS in %."""
    differences = {
        f"{key}_gain": summary[key] - bicubic[key]
        for key in _DIFFERENCE
        if key in summary and key in bicubic
    }
    changes = {
        f"{key}_change": 100 * (summary[key] / bicubic[key] - 1)
        for key in _PERCENT
        if key in summary and bicubic.get(key)
    }
    return differences | changes


def markdown(
    heads: Sequence[str], columns: Sequence[Column], rows: Sequence[Row], *, best: bool = True
) -> str:
    """A table in markdown, the best figure of each column in bold if `best`."""
    lines = [[*heads, *(column.head for column in columns)], ["---"] * (len(heads) + len(columns))]
    bold = _best(columns, rows) if best else set[tuple[int, str]]()
    for i, row in enumerate(rows):
        cells = _cells(columns, row)
        for j, column in enumerate(columns):
            if (i, column.key) in bold:
                cells[j] = f"**{cells[j]}**"
        lines.append([*(label.replace("|", "\\|") for label in row.labels), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def text(heads: Sequence[str], columns: Sequence[Column], rows: Iterable[Row]) -> list[str]:
    """Lines of a table in columns, the first to the left, the others to the right."""
    lines = [[*heads, *(column.head for column in columns)]]
    lines += [[*row.labels, *_cells(columns, row)] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def plain(tally: Tally, names: Collection[str] | None = None) -> dict[str, Any]:
    """Figures of the set and of each picture for JSON; null for what is not finite.

    Args:
        tally: Of one method.
        names: The pictures that the figures of the set are of; every picture's own are given.
    """
    spread = tally.spread(names)
    return {
        "mean": _finite(tally.summary(names)),
        "median": _finite({key: median for key, (median, _) in spread.items()}),
        "std": _finite({key: deviation for key, (_, deviation) in spread.items()}),
        "pictures": {name: _finite(tally.figures(name)) for name in tally.pictures},
    }


def to_csv(tallies: Mapping[str, Tally]) -> str:
    """A line for each method and picture; empty where there is no figure, "inf" for no error."""
    figures = [
        (method, name, tally.figures(name))
        for method, tally in tallies.items()
        for name in tally.pictures
    ]
    keys = list(dict.fromkeys(key for _, _, row in figures for key in row))
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["method", "picture", *keys])
    for method, name, row in figures:
        cells = [row.get(key, math.nan) for key in keys]
        writer.writerow([method, name, *("" if math.isnan(c) else repr(c) for c in cells)])
    return file.getvalue()


def _cells(columns: Iterable[Column], row: Row) -> list[str]:
    return [format(row.figures[c.key], c.form) if c.key in row.figures else "" for c in columns]


def _best(columns: Iterable[Column], rows: Sequence[Row]) -> set[tuple[int, str]]:
    """Row and key of each best figure, as it is shown; equal ones are all best."""
    found = set()
    for column in columns:
        known = {
            i: row.figures[column.key]
            for i, row in enumerate(rows)
            if not math.isnan(row.figures.get(column.key, math.nan))
        }
        if column.higher_is_better is None or len(known) < 2:
            continue
        top = (max if column.higher_is_better else min)(known.values())
        shown = format(top, column.form)
        found |= {(i, column.key) for i, v in known.items() if format(v, column.form) == shown}
    return found


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in values.items()}
