from __future__ import annotations

import math

import pytest

from bimacosr.evaluate.tables import Row, columns_of, gains, markdown, plain, rows_of, text, to_csv
from bimacosr.evaluate.tally import Tally
from bimacosr.metrics.registry import METRICS

KEYS = {name: METRICS[name] for name in ("psnr_y", "lpips_alex")}


@pytest.fixture
def tallies() -> dict[str, Tally]:
    figures = {
        "bicubic": {"a": (20.0, 0.4), "b": (22.0, 0.4)},
        "one": {"a": (21.0, 0.2), "b": (23.0, 0.4), "c": (99.0, 0.1)},
        "two": {"a": (22.0, math.nan), "b": (math.inf, 0.29996)},
    }
    found = {method: Tally(KEYS) for method in figures}
    for method, rows in figures.items():
        for name, values in rows.items():
            parts = {key: (value,) for key, value in zip(KEYS, values, strict=True)}
            found[method].pictures[name] = parts
    return found


def test_differences_to_bicubic_are_db_and_percent() -> None:
    row = {"psnr_y": 27.0, "lpips_alex": 0.3, "niqe": 5.0}
    found = gains(row, {"psnr_y": 26.5, "lpips_alex": 0.4, "niqe": 9.0})
    assert found == pytest.approx({"psnr_y_gain": 0.5, "lpips_alex_change": -25})
    assert gains(row, {}) == {}


def test_rows_are_over_the_pictures_that_are_named(tallies: dict[str, Tally]) -> None:
    rows = rows_of(tallies, ["a", "b"], "set")
    assert [row.labels for row in rows] == [
        ("set", "bicubic", "2"),
        ("set", "one", "2"),
        ("set", "two", "2"),
    ]
    assert rows[1].figures == pytest.approx(
        {"psnr_y": 22, "lpips_alex": 0.3, "psnr_y_gain": 1, "lpips_alex_change": -25}
    )
    assert rows_of(tallies)[1].labels == ("one", "3")


def test_markdown_has_the_best_in_bold_as_far_as_one_sees(tallies: dict[str, Tally]) -> None:
    rows = rows_of(tallies, ["a", "b"])
    columns = columns_of(KEYS, rows, arrows=True)
    assert markdown(("method", "n"), columns, rows).splitlines() == [
        "| method | n | PSNR-Y ↑ | +dB | LPIPS-alex ↓ | % |",
        "| --- | --- | --- | --- | --- | --- |",
        "| bicubic | 2 | 21.00 |  | 0.4000 |  |",
        "| one | 2 | 22.00 | +1.00 | **0.3000** | -25.0 |",
        "| two | 2 | **inf** | +inf | **0.3000** | -25.0 |",
    ]
    assert "**" not in markdown(("method", "n"), columns, rows, best=False)


def test_a_bar_in_a_name_does_not_break_the_table() -> None:
    row = Row(("a|b",), {"psnr_y": 1.0})
    assert markdown(("m",), columns_of(KEYS, [row]), [row]).endswith("| a\\|b | 1.00 |")


def test_text_stands_in_columns(tallies: dict[str, Tally]) -> None:
    rows = [Row((row.labels[0],), row.figures) for row in rows_of({"one": tallies["one"]})]
    assert text(("method",), columns_of(KEYS, rows), rows) == [
        "method  PSNR-Y  LPIPS-alex",
        "one      47.67      0.2333",
    ]


def test_json_and_csv_keep_each_picture(tallies: dict[str, Tally]) -> None:
    kept = plain(tallies["two"], ["a", "b"])
    assert kept["pictures"] == {
        "a": {"psnr_y": 22.0, "lpips_alex": None},
        "b": {"psnr_y": None, "lpips_alex": 0.29996},
    }
    assert kept["mean"] == {"psnr_y": None, "lpips_alex": 0.29996}
    assert kept["median"] == {"psnr_y": 22.0, "lpips_alex": 0.29996}
    assert to_csv(tallies).splitlines()[::5] == [
        "method,picture,psnr_y,lpips_alex",
        "one,c,99.0,0.1",
    ]
    assert to_csv({"two": tallies["two"]}).splitlines()[1:] == ["two,a,22.0,", "two,b,inf,0.29996"]
