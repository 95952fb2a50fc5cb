from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from picture_files import noise, read, smooth, write
from PIL import Image

from bimacosr.io import FORMATS, Picture

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]))


@given(
    shape=SHAPES,
    dtype=st.sampled_from([np.uint8, np.uint16]),
    has_alpha=st.booleans(),
    seed=st.integers(0, 9),
)
@pytest.mark.parametrize("extension", [".png", ".tif"])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_lossless_formats_give_back_what_they_got(
    tmp_path: Path, extension: str, shape, dtype, has_alpha: bool, seed: int
) -> None:
    pixels = noise(*shape, dtype=dtype, seed=seed)
    alpha = noise(*shape[:2], 1, dtype=dtype, seed=seed + 1)[..., 0] if has_alpha else None
    back = read(write(tmp_path / f"a{extension}", Picture(pixels, alpha)))
    assert back.pixels.dtype == dtype
    assert back.pixels.flags.c_contiguous
    np.testing.assert_array_equal(back.pixels, pixels)
    assert (back.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(back.alpha, alpha)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_every_format_holds_what_its_row_says(
    tmp_path: Path, form, dtype, channels: int, has_alpha: bool
) -> None:
    pixels = smooth(37, 50, channels, dtype)
    full = np.iinfo(dtype).max
    alpha = np.full((37, 50), full, dtype) if has_alpha else None
    if alpha is not None:
        alpha[0, 0] = full - full // 100  # WebP drops an alpha that is opaque everywhere
    back = read(write(tmp_path / f"a{form.extensions[0]}", Picture(pixels, alpha)))
    assert back.format == form.name
    assert back.pixels.dtype == (dtype if form.depth_16 else np.uint8)
    assert back.pixels.shape[2] == (channels if form.grey else 3)
    assert (back.alpha is not None) == (has_alpha and form.alpha)
    error = np.abs(back.pixels / np.iinfo(back.pixels.dtype).max - pixels / full)
    assert error[1:].max() < (0.03 if form.name in ("JPEG", "WEBP") else 0.003)


def test_webp_at_quality_100_is_lossless_even_under_transparency(tmp_path: Path) -> None:
    pixels, alpha = noise(20, 30), noise(20, 30, 1, seed=1)[..., 0]
    back = read(write(tmp_path / "a.webp", Picture(pixels, alpha), quality=100))
    np.testing.assert_array_equal(back.pixels, pixels)
    np.testing.assert_array_equal(back.alpha, alpha)


def test_jpeg_keeps_colour_resolution_from_quality_90(tmp_path: Path) -> None:
    layers = {}
    for quality in (89, 90):
        path = write(tmp_path / "a.jpg", Picture(noise(32, 32)), quality=quality)
        with Image.open(path) as image:
            layers[quality] = image.layer[0][1:3]
    assert layers == {89: (2, 2), 90: (1, 1)}


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (128, 0), (129, 1), (65535, 255)])
def test_16_bit_is_rounded_to_the_nearest_8_bit(tmp_path: Path, value: int, expected: int) -> None:
    path = write(tmp_path / "a.bmp", Picture(np.full((2, 2, 3), value, np.uint16)))
    assert (read(path).pixels == expected).all()


@pytest.mark.parametrize("extension", [".jpg", ".bmp"])
def test_transparency_is_laid_on_white_where_a_format_has_none(
    tmp_path: Path, extension: str
) -> None:
    alpha = np.zeros((32, 32), np.uint8)
    alpha[16:] = 255
    back = read(write(tmp_path / f"a{extension}", Picture(np.zeros((32, 32, 3), np.uint8), alpha)))
    assert (back.pixels[:8] > 250).all()
    assert (back.pixels[24:] < 5).all()


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", None])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "CMYK", "I;16"])
def test_tiffs_of_others_are_read(tmp_path: Path, compression, mode: str) -> None:
    source = Image.fromarray(noise(30, 40))
    if mode == "I;16":
        image = Image.fromarray(noise(30, 40, 1, np.uint16)[..., 0])
    else:
        image = source.convert(mode)
    path = tmp_path / "a.tiff"
    image.save(path, compression=compression)
    back = read(path)
    if mode == "I;16":
        np.testing.assert_array_equal(back.pixels[..., 0], np.asarray(image))
    else:
        wanted = image.convert({"P": "RGB", "1": "L", "CMYK": "RGB"}.get(mode, mode))
        found = back.pixels if back.alpha is None else np.dstack([back.pixels, back.alpha])
        np.testing.assert_array_equal(np.squeeze(found), np.asarray(wanted))


def test_a_phones_two_pictures_in_one_jpeg_read_as_the_first(tmp_path: Path) -> None:
    first, second = Image.fromarray(smooth(32, 48)), Image.new("RGB", (48, 32), "red")
    path = tmp_path / "a.jpg"
    first.save(path, "MPO", save_all=True, append_images=[second], quality=95)
    back = read(path)
    assert back.format == "JPEG"
    assert np.abs(back.pixels.astype(int) - smooth(32, 48)).mean() < 4


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(smooth(16, 16)).save(path, "JPEG")
    assert read(path).format == "JPEG"


def test_pixels_written_by_others_read_alike_by_pillow(tmp_path: Path) -> None:
    pixels = noise(70, 90)
    for extension in (".png", ".tif", ".bmp"):
        path = write(tmp_path / f"a{extension}", Picture(pixels))
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            np.testing.assert_array_equal(np.asarray(image), pixels)
