"""An evaluation as people read it: lines for a terminal, or markdown."""

from __future__ import annotations

from collections.abc import Iterator

from bimacosr.evaluate.folders import Evaluation
from bimacosr.evaluate.tables import Row, columns_of, markdown, rows_of, text

__all__ = ["lines", "to_markdown"]

_HEADS = ("method", "pictures")


def lines(evaluation: Evaluation) -> Iterator[str]:
    """The table, with medians and standard deviations, and what exactly was measured."""
    rows = rows_of(evaluation.tallies, evaluation.common)
    columns = columns_of(evaluation.choice.all, rows)
    told = []
    for row, tally in zip(rows, evaluation.tallies.values(), strict=True):
        told.append(row)
        if len(evaluation.common) > 1:
            spread = tally.spread(evaluation.common)
            medians = {key: median for key, (median, _) in spread.items()}
            deviations = {key: deviation for key, (_, deviation) in spread.items()}
            told += [Row(("  median", ""), medians), Row(("  std", ""), deviations)]
    yield from text(_HEADS, columns, told)
    if any(len(tally.pictures) > len(evaluation.common) for tally in evaluation.tallies.values()):
        yield f"every row is over what all methods have, {len(evaluation.common)} of the pictures"
    yield ""
    yield from _conventions(evaluation)


def to_markdown(evaluation: Evaluation) -> str:
    """The table, best figures in bold, and what exactly was measured."""
    rows = rows_of(evaluation.tallies, evaluation.common)
    columns = columns_of(evaluation.choice.all, rows, arrows=True)
    told = "\n".join(f"- {line}" for line in _conventions(evaluation))
    return f"{markdown(_HEADS, columns, rows)}\n\n{told}\n"


def _conventions(evaluation: Evaluation) -> Iterator[str]:
    for name, convention in evaluation.choice.conventions(evaluation.border_px).items():
        metric = evaluation.choice.all[name]
        better = "higher" if metric.higher_is_better else "lower"
        yield f"{metric.title}: {better} is better; {convention}"
