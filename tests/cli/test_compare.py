"""`bimacosr compare`: the figure, the page, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image

from tests.cli.conftest import photo

Run = Callable[..., Result]
SIZE = (64, 48)
PLAIN = ("--metrics", "psnr")


@pytest.fixture
def pictures(folder: Path) -> Path:
    """Two originals in hr, results in a and b."""
    for name in ("p", "q"):
        photo(folder / "hr" / f"{name}.png", SIZE)
        photo(folder / "a" / f"{name}_x4.png", SIZE)
        photo(folder / "b" / f"{name}.png", SIZE, "L")
    return folder


def test_a_figure_and_a_page_of_some_pictures(run: Run, pictures: Path) -> None:
    pytest.importorskip("matplotlib")
    files = ("-o", "f.png", "--html", "f.html")
    chosen = ("--picture", "p", "q", "--region", "8,4,16,16", "--width", 5, "--dpi", 80)
    result = run("compare", "--sr", "a", "grey=b", "--hr", "hr", *chosen, *PLAIN, *files)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == ["p: region 8,4,16,16", "q: region 8,4,16,16"]
    with Image.open(pictures / "f.png") as figure:
        assert figure.width == 400
    assert '"name": "grey"' in (pictures / "f.html").read_text()


def test_files_of_one_picture_need_no_folders(run: Run, pictures: Path) -> None:
    files = ("good=a/p_x4.png", "b/q.png")
    result = run("compare", "--sr", *files, "--hr", "hr/p.png", *PLAIN, "--html", "f.html")
    assert result.exit_code == 0, result.stderr
    page = (pictures / "f.html").read_text()
    assert '"name": "good"' in page
    assert '"name": "q"' in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing is to be written"),
        (("-o", "f.gif"), "f.gif cannot be drawn; name a file of .png or .pdf"),
        (("--html", "f.html"), "there are 2 pictures (p, q); choose with --picture"),
        (("--html", "f.html", "--picture", "z"), "there is no original called z"),
        (("--html", "f.html", "--region", "1,2,3"), "give X,Y,W,H"),
        (("--html", "f.html", "--region", "1,2,3,3"), "the sides from 8 to 4096"),
        (("--html", "f.html", "--picture", "p", "--region", "60,0,8,8"), "is not inside"),
        (("--html", "f.html", "--region-size", 4), "region_px is 4"),
        (("--html", "f.html", "--metrics", "fid"), "no score for one picture"),
        (("--html", "f.html", "--picture", "p", "--lr", "hr/p.png"), "give files or folders"),
    ],
)
def test_one_sentence_for_what_goes_wrong(
    run: Run, pictures: Path, arguments: Any, message: str
) -> None:
    metrics = () if "--metrics" in arguments else PLAIN
    result = run("compare", "--sr", "a", "--hr", "hr", *metrics, *arguments)
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not (pictures / "f.html").exists()
