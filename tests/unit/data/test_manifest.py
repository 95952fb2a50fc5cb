"""The table of crops: what was written is read again, whatever happened meanwhile."""

from __future__ import annotations

import errno
import io
from dataclasses import replace
from pathlib import Path

import pytest

from bimacosr.data.manifest import Manifest, Row, check_settings
from bimacosr.errors import OptionError, ReadError, WriteError

ROW = Row(
    file='train/a, "b".png',
    source="holiday/ü, b.jpg",
    photo="00112233aabbccdd",
    top=0,
    left=288,
    size=288,
    reduce=1.5,
    sharpness=2.1234,
    flat_share=0.25,
    likeness="0f" * 16,
    photo_likeness="f0" * 16,
    licence="CC0",
)
SECOND = replace(ROW, photo="second", left=0)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    table = Manifest(tmp_path)
    assert table.rows == []
    table.append([ROW, replace(ROW, left=1)])
    Manifest(tmp_path).append([SECOND])
    assert Manifest(tmp_path).rows == [ROW, replace(ROW, left=1), SECOND]
    assert (tmp_path / "manifest.csv").read_bytes().startswith(b"file,source,photo,top,left,size,")


@pytest.mark.parametrize("cut", [1, 20, 150])
def test_a_line_cut_short_takes_its_photo_back(tmp_path: Path, cut: int) -> None:
    table = Manifest(tmp_path)
    table.append([SECOND])
    table.append([ROW, replace(ROW, left=1)])
    path = tmp_path / "manifest.csv"
    path.write_bytes(path.read_bytes()[:-cut])
    assert Manifest(tmp_path).rows == [SECOND]
    assert Manifest(tmp_path).rows == [SECOND]  # and it was mended on the disk
    Manifest(tmp_path).append([ROW])
    assert Manifest(tmp_path).rows == [SECOND, ROW]


def test_a_full_disk_leaves_no_part_of_a_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Manifest(tmp_path)
    table.append([SECOND])
    before = (tmp_path / "manifest.csv").read_bytes()
    true_write, calls = io.FileIO.write, []

    class Full(io.FileIO):
        def write(self, data: object) -> int:
            calls.append(data)
            if len(calls) > 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            return true_write(self, bytes(data)[:30])  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", lambda self, mode, buffering: Full(self, mode))
    with pytest.raises(WriteError, match="the disk is full while writing"):
        table.append([ROW])
    monkeypatch.undo()
    assert len(calls) == 2
    assert (tmp_path / "manifest.csv").read_bytes() == before
    assert table.rows == [SECOND]


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "file\n", "\x00\n"])
def test_another_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(ReadError, match=r"manifest.csv is damaged or no table of crops"):
        Manifest(tmp_path)


@pytest.mark.parametrize("wrong", ["x", "", "1,2"])
def test_a_damaged_number(tmp_path: Path, wrong: str) -> None:
    Manifest(tmp_path).append([ROW])
    path = tmp_path / "manifest.csv"
    path.write_text(path.read_text().replace("2.1234", wrong))
    with pytest.raises(ReadError, match="damaged"):
        Manifest(tmp_path)


class TestSettings:
    def test_the_same_again(self, tmp_path: Path) -> None:
        for _ in range(2):
            check_settings(tmp_path / "set", {"size": 288, "ranges": ((1, 2.5),)})

    def test_others(self, tmp_path: Path) -> None:
        check_settings(tmp_path, {"size": 288, "seed": 0})
        with pytest.raises(OptionError, match="was made with another size; give the settings in"):
            check_settings(tmp_path, {"size": 256, "seed": 0})

    @pytest.mark.parametrize("text", ["", "[1]", "{"])
    def test_a_damaged_file(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "settings.json").write_text(text)
        with pytest.raises(ReadError, match=r"settings.json is damaged; remove it"):
            check_settings(tmp_path, {"size": 288})

    def test_a_folder_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "set").write_text("")
        with pytest.raises(WriteError, match="set"):
            check_settings(tmp_path / "set", {"size": 288})
