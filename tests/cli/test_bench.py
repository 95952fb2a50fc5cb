"""`bimacosr bench`: the table, the files, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bimacosr.bench import plot
from bimacosr.cli.bench import bench
from bimacosr.errors import BackendError

Run = Callable[..., Result]
QUICK = ("--rounds", 2, "--no-memory", "--quiet")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Result:
        result = CliRunner().invoke(bench, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def test_the_pipeline_beside_bicubic(run: Run, tmp_path: Path) -> None:
    result = run("pipeline", "--size", "16x24", "--peers", "bicubic", "--json", "r.json", *QUICK)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    told = json.loads((tmp_path / "r.json").read_text())
    assert told["size"] == [16, 24]
    assert told["rounds"] == 2
    ratio = told["cases"][0]["ratios"]["bicubic"]["median"]
    (row,) = (line for line in result.stdout.splitlines() if line.startswith("bicubic"))
    assert float(row.split()[1]) == pytest.approx(ratio, abs=0.006)


def test_layers_have_a_row_each_and_means(run: Run) -> None:
    told = ("layers", "--model", "edge-x4", "--size", "8x8", "--peers", "torch-fp32", *QUICK)
    result = run(*told)
    assert result.exit_code == 0, result.output
    rows = [line.split("  ")[0] for line in result.stdout.splitlines()]
    assert "3x3 64->64 8x8" in rows
    assert "3x3 best fp32" in rows


def test_progress_goes_to_standard_error(run: Run) -> None:
    result = run("pipeline", "--size", "8x8", "--peers", "bicubic", "--rounds", 1, "--no-memory")
    assert "  bicubic" in result.stderr.splitlines()
    assert "\n  bicubic\n" not in result.stdout


def test_a_plot_needs_matplotlib(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise BackendError("a plot needs matplotlib: pip install matplotlib")

    monkeypatch.setattr(plot, "check_plot", refuse)
    result = run("pipeline", "--plot", "r.png", *QUICK)
    assert result.exit_code == 1
    assert "pip install matplotlib" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("layers", "--size", "64"), "the size is '64'; give height and width, such as 64x64"),
        (("layers", "--threads", 0), "threads is 0"),
        (("unet", "--peers", "tvm"), "there is no peer 'tvm' in the benchmark unet"),
        (("layers", "--isa", "sse9"), "cannot run the instruction set 'sse9'"),
        (("pipeline", "--model", "nothing"), "'nothing'"),
        (("pipeline", "--json", "no/where.json"), "no/where.json cannot be written"),
        (("pipeline", "--plot", "r.gif"), "r.gif cannot be drawn"),
    ],
)
def test_one_sentence_for_what_goes_wrong(run: Run, arguments: Any, message: str) -> None:
    result = run(*arguments, *QUICK)
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
