"""Clean pictures: which are found, in which order, and what pixels they give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from bimacosr.config.picture import PictureLimits
from bimacosr.data.photos import find_pictures, read_photo
from bimacosr.errors import LimitError, ReadError
from tests.unit.data.conftest import WritePhoto

LIMITS = PictureLimits()


def names(paths: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


class TestFinding:
    def test_a_folder_with_all_below_it_in_order(
        self, write_photo: WritePhoto, tmp_path: Path
    ) -> None:
        for name in ("b.png", "a.jpg", "deep/er/c.webp", ".hidden.png", ".trash/d.png"):
            write_photo(name)
        (tmp_path / "notes.md").write_text("no picture")
        assert names(find_pictures([tmp_path]), tmp_path) == ["a.jpg", "b.png", "deep/er/c.webp"]

    def test_of_a_prepared_set_only_what_is_for_training(
        self, write_photo: WritePhoto, tmp_path: Path
    ) -> None:
        for name in ("train/a.png", "val/HR/b.png", "val/LR/b.png"):
            write_photo(name)
        assert names(find_pictures([tmp_path]), tmp_path) == ["train/a.png"]

    def test_a_list_of_paths_relative_to_itself(
        self, write_photo: WritePhoto, tmp_path: Path
    ) -> None:
        photo = write_photo("x/a.png")
        (tmp_path / "list.txt").write_text(f"x/a.png\n\n{write_photo('b.png')}\n")
        assert find_pictures([tmp_path / "list.txt"]) == [photo, tmp_path / "b.png"]

    def test_each_picture_once(self, write_photo: WritePhoto, tmp_path: Path) -> None:
        photo = write_photo("a.png")
        assert find_pictures([photo, tmp_path, photo]) == [photo]

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(ReadError, match="there is no picture in"):
            find_pictures([tmp_path])
        with pytest.raises(ReadError, match=r"gone does not exist; check the path"):
            find_pictures([tmp_path / "gone"])


class TestReading:
    @pytest.mark.parametrize("mode", ["L", "RGB", "P", "CMYK", "I;16"])
    def test_every_kind_gives_rgb_of_8_bits(self, tmp_path: Path, mode: str) -> None:
        grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4)
        image = (
            Image.fromarray(np.asarray(grey, np.uint16) * 257)
            if mode == "I;16"
            else grey.convert(mode)
        )
        path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
        image.save(path)
        pixels = read_photo(path, LIMITS)
        assert pixels.shape == (8, 8, 3)
        assert pixels.dtype == np.uint8
        assert np.abs(pixels.astype(int) - np.asarray(grey)[..., None]).max() <= 2

    def test_colours_of_a_profile_become_srgb(self, tmp_path: Path) -> None:
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        image = Image.fromarray(np.full((4, 4, 3), 100, np.uint8))
        image.save(tmp_path / "a.png", icc_profile=lab.tobytes())
        assert np.abs(read_photo(tmp_path / "a.png", LIMITS).astype(int) - 100).max() <= 1

    def test_transparency_is_refused(self, tmp_path: Path) -> None:
        Image.new("RGBA", (4, 4), (9, 9, 9, 255)).save(tmp_path / "opaque.png")
        assert read_photo(tmp_path / "opaque.png", LIMITS).max() == 9
        Image.new("RGBA", (4, 4), (9, 9, 9, 254)).save(tmp_path / "clear.png")
        with pytest.raises(ReadError, match=r"clear.png is partly transparent; training needs"):
            read_photo(tmp_path / "clear.png", LIMITS)

    def test_too_large(self, write_photo: WritePhoto) -> None:
        with pytest.raises(LimitError, match=r"96x80 px"):
            read_photo(write_photo("a.png"), PictureLimits(max_pixels=96 * 80 - 1))
