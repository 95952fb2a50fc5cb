"""The program scripts/evaluate_model.py and its parts, without weight files or models."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import bimacosr
from bimacosr.errors import OptionError


@pytest.fixture
def evaluation(scripts: Path) -> ModuleType:
    return import_module("evaluation")


@pytest.fixture
def run(scripts: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run the program with arguments; metrics without weights."""
    program = import_module("evaluate_model")

    def call(*arguments: object) -> None:
        given = [*map(str, arguments), "--metric-weights", "none", "--metrics", "psnr_y,ssim_y"]
        monkeypatch.setattr(sys, "argv", ["evaluate_model.py", *given])
        program.main()

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


def test_pairs_are_found_by_stem_and_the_rest_is_reported(
    evaluation: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("sr/a.png", "sr/b.png", "sr/c.png", "hr/a.webp", "hr/c.png", "hr/d.png"):
        write(tmp_path / name, 0, 4)
    (tmp_path / "sr" / "notes.txt").write_text("no picture")
    folders = {"sr": tmp_path / "sr", "hr": tmp_path / "hr"}
    files = evaluation.pair_files(folders)
    assert list(files) == ["a", "c"]
    assert files["a"] == {"sr": tmp_path / "sr" / "a.png", "hr": tmp_path / "hr" / "a.webp"}
    assert list(evaluation.pair_files(folders, limit=1)) == ["a"]
    told = capsys.readouterr().err
    assert "sr lacks 1: d" in told
    assert "hr lacks 1: b" in told


def test_pairs_that_cannot_be_are_refused(evaluation: ModuleType, tmp_path: Path) -> None:
    for name in ("sr/a.png", "sr/a.webp", "hr/b.png", "lr/a.png"):
        write(tmp_path / name, 0, 4)
    with pytest.raises(OptionError, match="two pictures called a"):
        evaluation.pair_files({"sr": tmp_path / "sr"})
    with pytest.raises(OptionError, match="no picture is in all of"):
        evaluation.pair_files({"lr": tmp_path / "lr", "hr": tmp_path / "hr"})
    with pytest.raises(OptionError, match="nowhere is not a folder"):
        evaluation.pair_files({"lr": tmp_path / "nowhere"})


def test_averages_leave_out_what_is_not_a_number(evaluation: ModuleType) -> None:
    rows = [{"x": 1.0, "y": math.nan}, {"x": 2.0, "y": math.nan}, {"x": math.nan, "z": 5.0}]
    means = evaluation.average(rows)
    assert means["x"] == 1.5
    assert math.isnan(means["y"])
    assert means["z"] == 5


def test_differences_to_bicubic_are_db_and_percent(evaluation: ModuleType) -> None:
    row = {"psnr_y": 27.0, "lpips_alex": 0.3, "niqe": 5.0}
    gains = evaluation.compare(row, {"psnr_y": 26.5, "lpips_alex": 0.4, "niqe": 9.0})
    assert gains == pytest.approx({"psnr_y_gain": 0.5, "lpips_alex_change": -25})
    assert evaluation.compare(row, {}) == {}


def test_bicubic_is_pillows(evaluation: ModuleType) -> None:
    flat = np.full((5, 7, 3), 200, np.uint8)
    assert np.array_equal(evaluation.enlarge_bicubic(flat), np.full((20, 28, 3), 200))


def test_the_contact_sheet_holds_every_picture_untouched(evaluation: ModuleType) -> None:
    rng = np.random.default_rng(0)
    rows = {
        stem: {m: rng.integers(0, 256, (h, 32, 3), dtype=np.uint8) for m in ("bicubic", "original")}
        for stem, h in (("a", 20), ("b", 32))
    }
    sheet = np.asarray(evaluation.contact_sheet(rows))
    assert sheet.shape == (14 + 20 + 14 + 32, 64, 3)
    assert np.array_equal(sheet[14:34, 32:], rows["a"]["original"])
    assert np.array_equal(sheet[48:, :32], rows["b"]["bicubic"])


def test_a_model_is_measured_beside_bicubic(
    run: Callable[..., None],
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
    run: Callable[..., None], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--data", data, "--unpaired")
    head = capsys.readouterr().out.splitlines()[0]
    assert "mean R" in head
    assert "lattice" in head
    assert "PSNR" not in head


def test_a_folder_of_results_is_measured_against_originals(
    run: Callable[..., None], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    originals = data / "paired" / "RealSR_half" / "hr"
    run("--sr", originals, "--hr", originals)
    row = capsys.readouterr().out.splitlines()[2]
    assert row.startswith("| pictures | hr | 3 | inf | 1.0000 |")


def test_results_of_another_size_are_refused(run: Callable[..., None], data: Path) -> None:
    folder = data / "paired" / "RealSR_half"
    with pytest.raises(OptionError, match=r"p0 by lr: \(16, 16, 3\), its original: \(64, 64, 3\)"):
        run("--sr", folder / "lr", "--hr", folder / "hr")


@pytest.mark.parametrize(
    "arguments", [(), ("--data", "d", "--sr", "s"), ("--sr", "s", "--model", "m")]
)
def test_arguments_that_do_not_fit_together_are_refused(
    run: Callable[..., None], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(*arguments)
