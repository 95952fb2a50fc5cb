"""`bimacosr evaluate`: the table, the files, and what goes wrong."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image

from tests.cli.conftest import photo

Run = Callable[..., Result]
SIZE = (48, 40)


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIMACOSR_METRIC_WEIGHTS", raising=False)


@pytest.fixture
def pictures(folder: Path) -> Path:
    """Originals in hr, small ones in lr, results in a (the same) and b (darker)."""
    for name in ("p", "q", "r"):
        hr = photo(folder / "hr" / f"{name}.png", SIZE)
        photo(folder / "a" / f"{name}_x4.png", SIZE)
        photo(folder / "lr" / f"{name}.png", (SIZE[0] // 4, SIZE[1] // 4))
        with Image.open(hr) as picture:
            (folder / "b").mkdir(exist_ok=True)
            picture.point(lambda value: value * 3 // 4).save(folder / "b" / f"{name}.png")
    return folder


def test_a_row_for_each_method_and_what_was_measured(run: Run, pictures: Path) -> None:
    metrics = ("--metrics", "psnr", "ssim,colour_shift")
    result = run("evaluate", "--sr", "a", "dark=b", "--hr", "hr", *metrics)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["method", "pictures", "PSNR-Y", "SSIM-Y", "colour", "shift"]
    assert lines[1].split() == ["a", "3", "inf", "1.0000", "0.00"]
    assert [line.split()[0] for line in lines[2:7]] == ["median", "std", "dark", "median", "std"]
    assert "BT.601" in result.stdout
    assert "no border left out" in result.stdout
    assert result.stderr == ""


def test_files_hold_each_picture(run: Run, pictures: Path) -> None:
    files = ("--json", "out/e.json", "--csv", "e.csv", "--markdown", "e.md")
    result = run(
        "evaluate", "--sr", "dark=b", "--hr", "hr", "--metrics", "psnr", "--crop-border", 4, *files
    )
    assert result.exit_code == 0, result.stderr
    told = json.loads((pictures / "out" / "e.json").read_text())
    each = told["methods"]["dark"]["pictures"]
    assert list(each) == told["pictures"] == ["p", "q", "r"]
    assert told["crop_border"] == 4
    assert "4 px left out" in told["conventions"]["psnr_y"]
    mean = told["methods"]["dark"]["mean"]["psnr_y"]
    assert mean == pytest.approx(sum(row["psnr_y"] for row in each.values()) / 3)
    rows = list(csv.DictReader((pictures / "e.csv").read_text().splitlines()))
    assert [row["picture"] for row in rows] == ["p", "q", "r"]
    assert float(rows[0]["psnr_y"]) == each["p"]["psnr_y"]
    assert f"| dark | 3 | {mean:.2f} |" in (pictures / "e.md").read_text()


@pytest.mark.parametrize(
    "words", [("--metrics", "psnr", "ssim"), ("--metrics=psnr", "ssim"), ("--metrics", "psnr,ssim")]
)
def test_several_words_after_one_option(run: Run, pictures: Path, words: tuple[str, ...]) -> None:
    result = run("evaluate", *words, "--sr", "a", "b", "-q", "--hr", "hr")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[0].split() == ["method", "pictures", "PSNR-Y", "SSIM-Y"]


def test_the_number_of_workers_changes_no_byte(run: Run, pictures: Path) -> None:
    for workers in (1, 3):
        options = ("--metrics", "psnr", "ssim", "--workers", workers, "--json", f"{workers}.json")
        assert run("evaluate", "--sr", "b", "--hr", "hr", *options).exit_code == 0
    assert (pictures / "1.json").read_bytes() == (pictures / "3.json").read_bytes()


def test_small_pictures_add_bicubic_and_differences_to_it(run: Run, pictures: Path) -> None:
    options = ("--lr", "lr", "--metrics", "psnr")
    result = run("evaluate", "--sr", "dark=b", "--hr", "hr", *options)
    assert result.exit_code == 0, result.stderr
    head, first = result.stdout.splitlines()[:2]
    assert "+dB" in head
    assert "shift R" in head
    assert first.split()[:2] == ["bicubic", "3"]


def test_pictures_that_do_not_fit_are_reported_and_the_rest_goes_on(
    run: Run, pictures: Path
) -> None:
    (pictures / "a" / "p_x4.png").unlink()
    photo(pictures / "b" / "q.png", (40, 40))
    photo(pictures / "b" / "z.png", SIZE)
    result = run(
        "evaluate", "--sr", "a", "b", "--hr", "hr", "--metrics", "psnr", "--json", "e.json"
    )
    assert result.exit_code == 1
    told = result.stderr.splitlines()
    assert told == [
        "error: a has no picture for p.png of hr",
        "error: b: z.png belongs to no picture of hr",
        "error: q by b is 40x40, its original 48x40; they must be of one size",
    ]
    assert "every row is over what all methods have, 1 of the pictures" in result.stdout
    written = json.loads((pictures / "e.json").read_text())
    assert written["pictures"] == ["r"]
    assert list(written["methods"]["a"]["pictures"]) == ["q", "r"]
    assert written["problems"] == [line.removeprefix("error: ") for line in told]


def test_without_weights_the_usual_metrics_are_fewer_and_it_is_said(
    run: Run, pictures: Path
) -> None:
    result = run("evaluate", "--sr", "b", "--hr", "hr")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split() == ["method", "pictures", "PSNR-Y", "SSIM-Y"]
    told = result.stderr.splitlines()
    assert [line.split()[1] for line in told] == ["LPIPS-alex", "NIQE"]
    assert all("--metric-weights or BIMACOSR_METRIC_WEIGHTS" in line for line in told)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sr", "b"), "no metric is left"),
        (("--sr", "b", "--metrics", "psnr"), "psnr_y compares with originals; give them with --hr"),
        (("--sr", "b", "--hr", "hr", "--metrics", "vmaf"), "there is no metric 'vmaf'"),
        (("--sr", "b", "--hr", "hr", "--metrics", ","), "no metric is named"),
        (("--sr", "b", "--hr", "hr", "--metrics", "lpips"), "lpips_alex.safetensors is needed"),
        (("--sr", "b", "--hr", "hr", "--metric-weights", "no", "--metrics", "niqe"), "is missing"),
        (("--sr", "b", "--hr", "nowhere"), "nowhere is not a folder of pictures"),
        (("--sr", "b", "b", "--hr", "hr"), "two methods are called b"),
        (("--sr", "=b", "--hr", "hr"), "names nothing"),
        (("--sr", "b", "--hr", "hr", "--crop-border", -1), "the border is -1 pixels"),
        (("--sr", "b", "--hr", "hr", "--workers", 5000), "workers is 5000"),
        (("--sr", "b", "--hr", "hr", "--device", "moon"), "cannot use the device 'moon'"),
        (("--sr", "bicubic=b", "--hr", "hr", "--lr", "lr"), "bicubic is measured anyway"),
        (("--sr", "b", "--hr", "hr", "--metrics", "psnr", "--csv", "hr"), "hr is a folder"),
    ],
)
def test_one_sentence_for_what_goes_wrong(
    run: Run, pictures: Path, arguments: Any, message: str
) -> None:
    result = run("evaluate", *arguments)
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert len(errors) == 1
    assert message in errors[0]


def test_without_pytorch_the_extra_is_named(
    run: Run, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    result = run("evaluate", "--sr", "b", "--hr", "hr")
    assert result.exit_code == 1
    assert "pip install 'bimacosr[torch]'" in result.stderr
