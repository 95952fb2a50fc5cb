"""The program scripts/evaluate_model.py, without weight files or models."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bimacosr
from bimacosr.errors import OptionError


@pytest.fixture
def run(scripts: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the program with arguments; metrics without weights."""
    program = import_module("evaluate_model")

    def call(*arguments: object) -> int:
        given = [*map(str, arguments), "--metric-weights", "none", "--metrics", "psnr_y,ssim_y"]
        monkeypatch.setattr(sys, "argv", ["evaluate_model.py", *given])
        return program.main()

    return call


def write(path: Path, seed: int, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(picture).save(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small copy of the evaluation sets' layout."""
    for name in ("RealSR_half", "DRealSR_half"):
        for i in range(3):
            write(tmp_path / "paired" / name / "lr" / f"p{i}.png", i, 16)
            write(tmp_path / "paired" / name / "hr" / f"p{i}.webp", 9 - i, 64)
    write(tmp_path / "unpaired" / "Loose" / "a.png", 1, 20)
    return tmp_path


def test_a_model_is_measured_beside_bicubic(
    run: Callable[..., int],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(*, model: str) -> Callable[[np.ndarray], np.ndarray]:
        assert model == "nearest"
        return lambda lq: lq.repeat(4, 0).repeat(4, 1)

    monkeypatch.setattr(bimacosr, "load", load, raising=False)
    out = tmp_path / "out"
    out.mkdir()
    files = ("--json", out / "all.json", "--contact-sheet", out / "sheet.png", "--save", out)
    run("--data", data, "--model", "nearest", "--limit", 2, "--sheet-pictures", 1, "--each", *files)
    printed = capsys.readouterr().out
    assert printed.count("psnr_y=") == 8
    table = [line.split(" | ") for line in printed.splitlines() if line.startswith("|")]
    assert [line[1] for line in table[2:]] == ["bicubic", "nearest"] * 2
    assert [line[2] for line in table[2:]] == ["2"] * 4
    assert "+dB" in table[0]
    report = json.loads((out / "all.json").read_text())
    assert list(report) == ["RealSR_half", "DRealSR_half"]
    nearest = report["RealSR_half"]["nearest"]
    assert list(nearest["pictures"]) == ["p0", "p1"]
    means = [row["psnr_y"] for row in nearest["pictures"].values()]
    assert nearest["mean"]["psnr_y"] == pytest.approx(sum(means) / 2)
    assert {"lines", "lattice", "colour_lattice", "shift_R"} <= nearest["mean"].keys()
    with Image.open(out / "nearest" / "RealSR_half" / "p0.png") as kept:
        assert kept.size == (64, 64)
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.size == (3 * 64, 2 * (64 + 14))


def test_loose_pictures_have_colour_and_grid_but_no_psnr(
    run: Callable[..., int], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--data", data, "--unpaired")
    head = capsys.readouterr().out.splitlines()[0]
    assert "mean R" in head
    assert "lattice" in head
    assert "PSNR" not in head


def test_a_folder_of_results_is_measured_against_originals(
    run: Callable[..., int], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    originals = data / "paired" / "RealSR_half" / "hr"
    run("--sr", originals, "--hr", originals)
    row = capsys.readouterr().out.splitlines()[2]
    assert row.startswith("| pictures | hr | 3 | inf | 1.0000 |")


def test_results_of_another_size_are_reported(
    run: Callable[..., int], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = data / "paired" / "RealSR_half"
    assert run("--sr", folder / "lr", "--hr", folder / "hr") == 1
    told = capsys.readouterr().err.splitlines()
    assert "p0 by lr is 16x16, its original 64x64; they must be of one size" in told
    assert len(told) == 3


def test_two_models_of_one_name_are_refused(run: Callable[..., int], data: Path) -> None:
    with pytest.raises(OptionError, match="two methods are called bicubic"):
        run("--data", data, "--model", "bicubic")


@pytest.mark.parametrize(
    "arguments", [(), ("--data", "d", "--sr", "s"), ("--sr", "s", "--model", "m")]
)
def test_arguments_that_do_not_fit_together_are_refused(
    run: Callable[..., int], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(*arguments)
