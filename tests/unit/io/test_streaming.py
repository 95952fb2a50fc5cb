from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from picture_files import noise, read, smooth, write
from PIL import Image

from bimacosr.config.picture import OutputSettings
from bimacosr.io import Metadata, Picture, write_picture
from bimacosr.io.png_writer import _joined_adler
from bimacosr.io.tiff_reader import TiffFile


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_a_25_megapixel_picture_is_written_with_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str
) -> None:
    monkeypatch.setattr("bimacosr.io.parallel._threads", lambda: 8)
    tile = smooth(500, 500)
    pixels = np.tile(tile, (10, 10, 1))
    tracemalloc.start()
    try:
        write_picture(tmp_path / f"a{extension}", Picture(pixels), settings=OutputSettings())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_the_bytes_do_not_depend_on_threads(tmp_path: Path, monkeypatch, extension: str) -> None:
    pixels = np.tile(noise(300, 100), (5, 8, 1))
    files = []
    for threads in (1, 3):
        monkeypatch.setattr("bimacosr.io.parallel._threads", lambda count=threads: count)
        path = write(tmp_path / f"{threads}{extension}", Picture(pixels, None, Metadata()))
        files.append(path.read_bytes())
    assert files[0] == files[1]
    np.testing.assert_array_equal(read(tmp_path / f"3{extension}").pixels, pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_pngs_in_many_segments_read_back_by_pillow(
    tmp_path: Path, monkeypatch, dtype, channels: int, has_alpha: bool
) -> None:
    monkeypatch.setattr("bimacosr.io.png_writer._SEGMENT_BYTES", 3000)
    monkeypatch.setattr("bimacosr.io.png_writer._BLOCK_BYTES", 700)
    rows = [smooth(20, 31, channels, dtype), noise(20, 31, channels, dtype)]
    rows.append(np.zeros((20, 31, channels), dtype))
    pixels = np.concatenate(rows)
    alpha = noise(60, 31, 1, dtype, seed=3)[..., 0] if has_alpha else None
    path = write(tmp_path / "a.png", Picture(pixels, alpha))
    back = read(path)
    np.testing.assert_array_equal(back.pixels, pixels)
    if alpha is not None:
        np.testing.assert_array_equal(back.alpha, alpha)
    with Image.open(path) as image:
        image.verify()


def test_pngs_are_nearly_as_small_as_pillows(tmp_path: Path) -> None:
    pixels = smooth(512, 512) // 2 + noise(512, 512) // 32
    ours = write(tmp_path / "a.png", Picture(pixels)).stat().st_size
    Image.fromarray(pixels).save(tmp_path / "b.png")
    assert ours < 1.12 * (tmp_path / "b.png").stat().st_size


def test_adler_of_two_pieces() -> None:
    data = noise(100, 999).tobytes()
    for cut in (0, 1, 12345, len(data)):
        first, second = data[:cut], data[cut:]
        joined = _joined_adler(zlib.adler32(first), zlib.adler32(second), len(second))
        assert joined == zlib.adler32(data)


def test_tiffs_are_ordinary_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", Picture(noise(700, 600), noise(700, 600, 1)[..., 0]))
    with path.open("rb") as file:
        tags = TiffFile(file).tag_v2
        assert tags[259] == 8
        assert tags[338] == (2,)
        assert len(tags[273]) == len(tags[279]) > 1
