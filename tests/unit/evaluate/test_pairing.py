from __future__ import annotations

from pathlib import Path

import pytest

from bimacosr.errors import OptionError
from bimacosr.evaluate.pairing import list_pictures, pair, without_marks


def folder(path: Path, *names: str) -> Path:
    path.mkdir()
    for name in names:
        (path / name).touch()
    return path


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.mark.parametrize(
    ("stem", "core"),
    [
        ("a_x4", "a"),
        ("a-4x", "a"),
        ("a_x2.5", "a"),
        ("Canon_001_LR4_x4", "Canon_001"),
        ("Canon_001_HR", "Canon_001"),
        ("a_out", "a"),
        ("max4", "max4"),
        ("a_x4_b", "a_x4_b"),
        ("img_001", "img_001"),
        ("_x4", "_x4"),  # nothing would be left
    ],
)
def test_what_programs_append_is_taken_off(stem: str, core: str) -> None:
    assert without_marks(stem) == core


def test_pictures_are_paired_by_stem_then_without_marks(tmp_path: Path, told: list[str]) -> None:
    hr = folder(tmp_path / "hr", "a.webp", "b_HR.png", "c.png", "c_x4.png", "notes.txt", ".d.png")
    sr = folder(tmp_path / "sr", "a.png", "b_LR4_x4.JPG", "c_x4.png", "c.webp")
    found = pair({"hr": hr, "sr": sr}, told.append)["sr"]
    assert found == {
        "a": sr / "a.png",
        "b_HR": sr / "b_LR4_x4.JPG",
        "c": sr / "c.webp",
        "c_x4": sr / "c_x4.png",
    }
    assert told == []


def test_who_has_no_partner_is_told_in_a_sentence(tmp_path: Path, told: list[str]) -> None:
    hr = folder(tmp_path / "hr", "a.png", "b.png", "c.png")
    sr = folder(tmp_path / "sr", "a.png", "z.png", "c_x2.png", "c_x4.png")
    assert list(pair({"hr": hr, "sr": sr}, told.append)["sr"]) == ["a"]
    assert told == [
        f"{sr}: c_x2.png, c_x4.png all mean c; keep one of them",
        f"{sr} has no picture for b.png of {hr}",
        f"{sr} has no picture for c.png of {hr}",
        f"{sr}: c_x2.png belongs to no picture of {hr}",
        f"{sr}: c_x4.png belongs to no picture of {hr}",
        f"{sr}: z.png belongs to no picture of {hr}",
    ]


def test_files_of_one_stem_are_left_out(tmp_path: Path, told: list[str]) -> None:
    sr = folder(tmp_path / "sr", "a.png", "a.webp", "b.png")
    assert list(list_pictures(sr, told.append)) == ["b"]
    assert told == [
        f"{sr} has several pictures called a (a.png, a.webp), so none is measured; keep one of them"
    ]


def test_folders_that_cannot_be_are_refused(tmp_path: Path, told: list[str]) -> None:
    hr, sr = folder(tmp_path / "hr", "a.png"), folder(tmp_path / "sr", "b.png")
    with pytest.raises(OptionError, match=r"no picture in .*sr has the name of one in .*hr"):
        pair({"hr": hr, "sr": sr}, told.append)
    assert told == []
    with pytest.raises(OptionError, match="nowhere is not a folder of pictures"):
        list_pictures(tmp_path / "nowhere", told.append)
    with pytest.raises(OptionError, match="empty holds no pictures"):
        list_pictures(folder(tmp_path / "empty", "x.txt"), told.append)
