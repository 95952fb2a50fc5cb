"""Where to look, the figure, the page and the contact sheet."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bimacosr.config.evaluate import FigureSettings
from bimacosr.errors import OptionError, PictureError
from bimacosr.evaluate.exhibit import Exhibit, exhibit
from bimacosr.evaluate.measure import Task
from bimacosr.evaluate.page import write_page
from bimacosr.evaluate.pictures import results_in
from bimacosr.evaluate.region import Region, check_region, crop, find_region
from bimacosr.evaluate.sheet import contact_sheet
from bimacosr.metrics.registry import METRICS, load_metrics
from tests.unit.evaluate.conftest import pixels, write

NAME = "a</script>b"


@pytest.fixture
def shown() -> Exhibit:
    """Three methods on a picture of 96x64."""
    return Exhibit(
        name=NAME,
        original=pixels(0, 64, 96),
        results={method: pixels(i, 64, 96) for i, method in enumerate(("one", "two", "3$x$"), 1)},
        scores={
            "one": {"psnr_y": 20.004, "niqe": 5.0},
            "two": {"psnr_y": 20.0, "niqe": 4.0},
            "3$x$": {"psnr_y": 19.0, "niqe": 4.5},
        },
        metrics={name: METRICS[name] for name in ("psnr_y", "niqe")},
        region=Region(8, 16, 32, 24),
    )


class TestRegion:
    def test_it_is_where_methods_differ_on_detail(self) -> None:
        original = np.full((96, 128, 3), 100, np.uint8)
        original[8:24, 96:112] = pixels(1, 16, 16)  # detail that everybody has
        original[64:80, 16:32] = pixels(2, 16, 16)  # detail that one method lacks
        result = original.copy()
        result[64:80, 16:32] = 120
        result[40:80, 64:128] += 1  # a large difference in all, on nothing
        assert find_region(original, [result], 16) == (16, 64, 16, 16)

    def test_it_is_no_larger_than_the_picture(self) -> None:
        assert find_region(pixels(0, 20, 40), [pixels(1, 20, 40)], 96)[2:] == (20, 20)

    def test_outside_the_picture_it_is_refused(self) -> None:
        picture = pixels(0, 20, 40)
        check_region(Region(32, 12, 8, 8), picture)
        assert np.array_equal(crop(picture, Region(32, 12, 8, 8)), picture[12:20, 32:40])
        with pytest.raises(OptionError, match="33,12,8,8 is not inside the picture of 40x20"):
            check_region(Region(33, 12, 8, 8), picture)


class TestExhibit:
    def test_the_best_figures_are_those_that_look_best(self, shown: Exhibit) -> None:
        assert shown.score_lines() == {
            "one": [("20.00", True), ("5.00", False)],
            "two": [("20.00", True), ("4.00", True)],
            "3$x$": [("19.00", False), ("4.50", False)],
        }

    def test_a_picture_is_measured_and_a_method_that_fails_is_told(self, tmp_path: Path) -> None:
        hr = write(tmp_path / "hr.png", pixels(0))
        files = {"good": write(tmp_path / "a.png", pixels(1)), "bad": tmp_path / "none.png"}
        task = Task(
            methods={name: results_in({"p": file}) for name, file in files.items()},
            metrics={"psnr_y": METRICS["psnr_y"]},
            scores=load_metrics(["psnr_y"]),
            originals={"p": hr},
        )
        told: list[str] = []
        found = exhibit(task, "p", FigureSettings(region_px=16), told.append)
        assert list(found.results) == list(found.scores) == ["good"]
        assert found.scores["good"].keys() == {"psnr_y"}
        assert found.region[2:] == (16, 16)
        assert len(told) == 1
        assert "none.png does not exist" in told[0]
        hr.unlink()
        with pytest.raises(PictureError, match="nothing to compare of p"):
            exhibit(task, "p", FigureSettings(), told.append)


class TestFigure:
    @pytest.fixture(autouse=True)
    def _matplotlib(self) -> None:
        pytest.importorskip("matplotlib")

    def test_a_png_shows_the_pixels_of_every_crop(self, shown: Exhibit, tmp_path: Path) -> None:
        from bimacosr.evaluate.figure import draw

        draw([shown, shown], tmp_path / "f.png", FigureSettings(width_in=6, dpi=100))
        with Image.open(tmp_path / "f.png") as picture:
            assert picture.width == 600
            colours = {colour for _, colour in picture.convert("RGB").getcolors(10**6)}
        for version in (shown.original, *shown.results.values()):
            cut = crop(version, shown.region)
            whole = {tuple(map(int, c)) for c in cut[4:-4:4, 4:-4:4].reshape(-1, 3)}
            assert whole <= colours

    def test_a_pdf_holds_text_as_text_and_is_the_same_again(
        self, shown: Exhibit, tmp_path: Path
    ) -> None:
        from bimacosr.evaluate.figure import draw

        for name in ("a.pdf", "b.pdf"):
            draw([shown], tmp_path / name, FigureSettings(width_in=5))
        written = (tmp_path / "a.pdf").read_bytes()
        assert written.startswith(b"%PDF")
        assert b"/FontFile2" in written  # TrueType, embedded
        assert written == (tmp_path / "b.pdf").read_bytes()

    def test_too_many_crops_are_refused(self, shown: Exhibit, tmp_path: Path) -> None:
        from bimacosr.evaluate.figure import draw

        with pytest.raises(OptionError, match="4 crops leave no room in 2 inches"):
            draw([shown], tmp_path / "f.png", FigureSettings(width_in=2, rows=1))
        assert not (tmp_path / "f.png").exists()


def test_a_page_holds_its_pictures_and_loads_nothing(shown: Exhibit, tmp_path: Path) -> None:
    write_page([shown], tmp_path / "p.html")
    page = (tmp_path / "p.html").read_text()
    assert not re.search(r"(src|href)=|https?:|url\(|@import", page)
    assert page.count("</script>") == 2  # the name did not end one
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert data is not None
    (item,) = json.loads(data[1])
    assert (item["name"], item["width"], item["region"]) == (NAME, 96, [8, 16, 32, 24])
    assert [v["name"] for v in item["versions"]] == ["Original", "one", "two", "3$x$"]
    assert item["versions"][1]["scores"] == "PSNR-Y 20.00, NIQE 5.00"
    for version, picture in zip(
        item["versions"], (shown.original, *shown.results.values()), strict=True
    ):
        encoded = version["source"].removeprefix("data:image/webp;base64,")
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as found:
            assert np.array_equal(np.asarray(found.convert("RGB")), picture)


def test_the_contact_sheet_holds_every_picture_untouched() -> None:
    rows = {
        name: {method: pixels(i + height, height, 32) for i, method in enumerate(("one", "two"))}
        for name, height in (("a", 20), ("b", 32))
    }
    sheet = np.asarray(contact_sheet(rows))
    assert sheet.shape == (14 + 20 + 14 + 32, 64, 3)
    assert np.array_equal(sheet[14:34, 32:], rows["a"]["two"])
    assert np.array_equal(sheet[48:, :32], rows["b"]["one"])
