"""Photographs to a training set: same folder for any number of threads, whole after any end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bimacosr.config.data import PrepareSettings, low_quality
from bimacosr.data import prepare as module
from bimacosr.data.draws import Draws, seed_for
from bimacosr.data.halves import make_halves
from bimacosr.data.manifest import Manifest
from bimacosr.data.prepare import prepare
from bimacosr.errors import OptionError, WriteError
from tests.unit.data.conftest import WritePhoto, photo_pixels, pixels_of

SETTINGS = PrepareSettings(size_px=64, stride_px=64, val_share=0.0)
HALF_VAL = PrepareSettings(size_px=64, stride_px=64, val_share=0.5)


@pytest.fixture
def photos(write_photo: WritePhoto) -> list[Path]:
    return [write_photo(f"photos/{n}.png", seed=n, width=150, height=70) for n in range(8)]


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_crops_are_the_pixels_of_the_photo(photos: list[Path], tmp_path: Path) -> None:
    summary = prepare(photos, tmp_path / "set", SETTINGS)
    rows = Manifest(tmp_path / "set").rows
    assert summary.train == len(rows) == 16
    for row in rows:
        photo = pixels_of(row.source)
        crop = pixels_of(tmp_path / "set" / row.file)
        assert np.array_equal(crop, photo[row.top : row.top + 64, row.left : row.left + 64])


def test_the_number_of_threads_changes_nothing(photos: list[Path], tmp_path: Path) -> None:
    for threads in (1, 4):
        prepare(photos, tmp_path / str(threads), HALF_VAL, threads=threads)
    assert content(tmp_path / "1") == content(tmp_path / "4")


class TestSplit:
    def test_by_photo(self, photos: list[Path], tmp_path: Path) -> None:
        summary = prepare(photos, tmp_path, HALF_VAL)
        rows = Manifest(tmp_path).rows
        val = {row.photo for row in rows if row.file.startswith("val/HR/")}
        train = {row.photo for row in rows if row.file.startswith("train/")}
        assert len(val) == summary.val > 0
        assert len(train) > 0
        assert not val & train
        assert len(val | train) == 8

    def test_names_and_places_do_not_matter(
        self, photos: list[Path], write_photo: WritePhoto, tmp_path: Path
    ) -> None:
        moved = [write_photo(f"{n}/other.png", seed=n, width=150, height=70) for n in range(8)]
        splits = []
        for name, files in (("a", photos), ("b", moved[::-1])):
            prepare(files, tmp_path / name, HALF_VAL)
            rows = Manifest(tmp_path / name).rows
            splits.append({row.photo: row.file.split("/")[0] for row in rows})
        assert splits[0] == splits[1]

    def test_pairs_are_the_seeded_degradation(self, photos: list[Path], tmp_path: Path) -> None:
        prepare(photos, tmp_path, HALF_VAL)
        rows = [row for row in Manifest(tmp_path).rows if row.file.startswith("val")]
        assert {p.name for p in (tmp_path / "val/LR").iterdir()} == {
            Path(row.file).name for row in rows
        }
        for row in rows:
            name = Path(row.file).name
            hq = torch.from_numpy(pixels_of(tmp_path / row.file).copy())
            hq = hq.permute(2, 0, 1)[None].float() / 255
            draws = Draws(seed_for("val", 0, name))
            lq, _ = make_halves(hq, low_quality("realesrgan"), draws)
            written = pixels_of(tmp_path / "val/LR" / name)
            assert np.array_equal((lq[0] * 255).round().byte().permute(1, 2, 0), written)


class TestCopies:
    def test_a_smaller_copy_of_a_photo(
        self, photos: list[Path], write_photo: WritePhoto, tmp_path: Path
    ) -> None:
        copy = tmp_path / "copy.jpg"
        with Image.open(photos[0]) as image:
            image.resize((140, 65)).save(copy, quality=80)
        summary = prepare([*photos, copy], tmp_path / "set", SETTINGS)
        assert summary.copies == 1
        assert {row.source for row in Manifest(tmp_path / "set").rows} == {str(p) for p in photos}

    def test_a_repeated_part(self, tmp_path: Path) -> None:
        part = photo_pixels(0, 64, 64)
        Image.fromarray(np.concatenate([part, part], 1)).save(tmp_path / "a.png")
        summary = prepare([tmp_path / "a.png"], tmp_path / "set", SETTINGS)
        assert (summary.train, summary.copies) == (1, 1)


class TestLeftOut:
    def test_small_photos(self, write_photo: WritePhoto, tmp_path: Path) -> None:
        photo = write_photo("a.png", width=100, height=63)
        summary = prepare([photo], tmp_path / "set", SETTINGS)
        assert (summary.train, summary.small) == (0, 1)

    def test_a_bad_photo_is_told_and_the_others_go_on(
        self, photos: list[Path], tmp_path: Path
    ) -> None:
        photos[3].write_bytes(photos[3].read_bytes()[:3000])
        photos[5].unlink()
        told: list[str] = []
        summary = prepare(photos, tmp_path / "set", SETTINGS, failed=told.append, threads=2)
        assert summary.failed == 2
        assert summary.train == 12
        assert "3.png cannot be read" in told[0]
        assert "5.png does not exist" in told[1]


def test_reduced_photos(write_photo: WritePhoto, tmp_path: Path) -> None:
    photo = write_photo("a.png", width=260, height=130)
    settings = PrepareSettings(
        size_px=64, stride_px=64, val_share=0, reduce=2, min_sharpness=0, max_flat=1
    )
    prepare([photo], tmp_path / "set", settings)
    rows = Manifest(tmp_path / "set").rows
    assert [(row.top, row.left, row.reduce) for row in rows] == [(0, 1, 2.0), (0, 65, 2.0)]
    large = Image.fromarray(pixels_of(photo))
    small = large.resize((130, 65), Image.Resampling.LANCZOS)
    crop = pixels_of(tmp_path / "set" / rows[0].file).astype(int)
    assert np.abs(crop - np.asarray(small, int)[:64, 1:65]).max() <= 1


class TestGoingOn:
    def test_a_finished_set_is_left_as_it_is(self, photos: list[Path], tmp_path: Path) -> None:
        prepare(photos, tmp_path / "set", HALF_VAL)
        before = content(tmp_path / "set")
        summary = prepare(photos, tmp_path / "set", HALF_VAL)
        assert summary.there == 8
        assert (summary.train, summary.val) == (0, 0)
        assert content(tmp_path / "set") == before

    def test_more_photos_are_added(self, photos: list[Path], tmp_path: Path) -> None:
        prepare(photos[:5], tmp_path / "a", HALF_VAL, licence="CC0")
        prepare(photos, tmp_path / "a", HALF_VAL, licence="CC-BY")
        prepare(photos, tmp_path / "b", HALF_VAL)
        rows = Manifest(tmp_path / "a").rows
        assert [row.licence for row in rows if row.source in map(str, photos[5:])].count("CC0") == 0
        a, b = content(tmp_path / "a"), content(tmp_path / "b")
        assert a.keys() == b.keys()
        assert all(a[name] == b[name] for name in a if name.endswith(".png"))

    def test_after_an_end_anywhere(
        self, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepare(photos, tmp_path / "whole", HALF_VAL)
        expected = content(tmp_path / "whole")
        true_file: Callable[[Path], object] = module.atomic_file
        for stop in (0, 1, 4, 9):
            left = [stop]

            def stopping(path: Path, left: list[int] = left) -> object:
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
                return true_file(path)

            monkeypatch.setattr(module, "atomic_file", stopping)
            folder = tmp_path / f"stopped{stop}"
            with pytest.raises(KeyboardInterrupt):
                prepare(photos, folder, HALF_VAL, threads=2)
            for row in Manifest(folder).rows:  # what the table has is there
                assert (folder / row.file).read_bytes() == expected[row.file]
            monkeypatch.setattr(module, "atomic_file", true_file)
            prepare(photos, folder, HALF_VAL)
            assert content(folder) == expected

    def test_a_full_disk_ends_it(
        self, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(path: Path) -> object:
            raise WriteError(f"the disk is full while writing {path}")

        monkeypatch.setattr(module, "atomic_file", full)
        with pytest.raises(WriteError, match="the disk is full"):
            prepare(photos, tmp_path / "set", SETTINGS)
        assert Manifest(tmp_path / "set").rows == []

    def test_other_settings(self, photos: list[Path], tmp_path: Path) -> None:
        prepare(photos[:1], tmp_path / "set", SETTINGS)
        with pytest.raises(OptionError, match="was made with another val_share"):
            prepare(photos, tmp_path / "set", HALF_VAL)
