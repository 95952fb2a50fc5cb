from __future__ import annotations

import io
import logging
import struct
from pathlib import Path

import numpy as np
import pytest
from picture_files import (
    XMP,
    chunk,
    encoded,
    exif,
    exif_value,
    full_metadata,
    grey_profile,
    noise,
    png,
    read,
    smooth,
    swapped_profile,
    tiff,
    write,
)
from PIL import Image

from bimacosr.io import Metadata, Picture
from bimacosr.io.exif import clean_exif, exif_resolution, sized_exif
from bimacosr.io.exif_tags import read_tags

MAKER, WIDTH, LENGTH, DETAILS = 271, 256, 257, 0x8769
PIXEL_X, PIXEL_Y, MAKER_NOTE, GPS = 40962, 40963, 37500, 0x8825
EXTENSIONS = [".png", ".jpg", ".webp", ".tif"]


@pytest.mark.parametrize("source", EXTENSIONS)
@pytest.mark.parametrize("target", EXTENSIONS)
def test_everything_is_kept_from_each_format_to_each(tmp_path, source: str, target: str) -> None:
    picture = Picture(smooth(30, 40), None, full_metadata())
    first = read(write(tmp_path / f"a{source}", picture))
    large = Picture(smooth(120, 160), None, first.metadata)
    kept = read(write(tmp_path / f"b{target}", large)).metadata
    assert kept.icc == swapped_profile()
    assert kept.xmp == picture.metadata.xmp
    assert kept.dpi is not None
    if ".webp" not in (source, target):
        assert kept.dpi == pytest.approx((300, 200), abs=0.02)
    assert kept.exif is not None
    assert str(exif_value(kept.exif, MAKER)).strip("\0") == "Maker"
    assert exif_value(kept.exif, 33434, DETAILS) == pytest.approx(0.005)
    assert exif_value(kept.exif, MAKER_NOTE, DETAILS) == b"maker's own notes " * 3
    assert exif_value(kept.exif, 1, GPS) == "N"
    assert exif_value(kept.exif, PIXEL_X, DETAILS) == 160
    assert exif_value(kept.exif, PIXEL_Y, DETAILS) == 120
    if ".tif" not in (source, target):  # there the file's own tags say it
        assert exif_value(kept.exif, WIDTH) == 160
        assert exif_value(kept.exif, LENGTH) == 120


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_pillow_finds_what_was_written(tmp_path: Path, extension: str) -> None:
    picture = Picture(smooth(30, 40), None, full_metadata())
    with Image.open(write(tmp_path / f"a{extension}", picture)) as image:
        image.load()
        assert image.getexif()[MAKER].strip("\0") == "Maker"
        assert image.info["icc_profile"] == swapped_profile()
        assert image.info["xmp"] == picture.metadata.xmp
        if extension != ".webp":
            assert tuple(map(float, image.info["dpi"])) == pytest.approx((300, 200), abs=0.02)


def test_a_resolution_without_exif_survives_in_webp(tmp_path: Path) -> None:
    picture = Picture(smooth(8, 8), None, Metadata(dpi=(72.0, 96.5)))
    assert read(write(tmp_path / "a.webp", picture)).metadata.dpi == (72.0, 96.5)


def test_a_resolution_is_added_to_exif_that_has_none(tmp_path: Path) -> None:
    empty = Image.Exif()
    empty[MAKER] = "Maker"
    picture = Picture(smooth(8, 8), None, Metadata(exif=empty.tobytes()[6:], dpi=(150.0, 150.0)))
    kept = read(write(tmp_path / "a.webp", picture)).metadata
    assert kept.dpi == (150.0, 150.0)
    assert kept.exif is not None
    assert exif_value(kept.exif, MAKER) == "Maker"


@pytest.mark.parametrize("extension", [".png", ".jpg", ".bmp", ".tif"])
def test_the_resolution_comes_back(tmp_path: Path, extension: str) -> None:
    picture = Picture(smooth(8, 8), None, Metadata(dpi=(300.0, 150.0)))
    found = read(write(tmp_path / f"a{extension}", picture)).metadata.dpi
    assert found == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize("extension", [".png", ".jpg", ".webp", ".tif"])
def test_no_resolution_is_invented(tmp_path: Path, extension: str) -> None:
    metadata = Metadata(exif=exif_without_resolution())
    path = write(tmp_path / f"a{extension}", Picture(smooth(8, 8), None, metadata))
    assert read(path).metadata.dpi is None


def exif_without_resolution() -> bytes:
    image = Image.Exif()
    image[MAKER] = "Maker"
    return image.tobytes()[6:]


@pytest.mark.parametrize("extension", [*EXTENSIONS, ".bmp"])
def test_stripping_leaves_the_profile_alone(tmp_path: Path, extension: str) -> None:
    picture = Picture(smooth(8, 8), None, full_metadata())
    path = write(tmp_path / f"a{extension}", picture, strip_metadata=True)
    kept = read(path).metadata
    assert kept.exif is None
    assert kept.xmp is None
    assert kept.icc == (None if extension == ".bmp" else swapped_profile())
    assert b"Maker" not in path.read_bytes()


def test_bmp_has_no_profile_so_its_colours_become_srgb(tmp_path: Path) -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    back = read(write(tmp_path / "a.bmp", Picture(red, None, Metadata(icc=swapped_profile()))))
    np.testing.assert_allclose(back.pixels[0, 0], [0, 255, 0], atol=3)


@pytest.mark.parametrize("extension", [".webp", ".bmp"])
def test_grey_of_another_tone_curve_becomes_srgb_where_it_must(tmp_path, extension) -> None:
    grey = np.full((16, 16, 1), 55, np.uint8)  # linear light: sRGB 128
    picture = Picture(grey, None, Metadata(icc=grey_profile(1.0)))
    back = read(write(tmp_path / f"a{extension}", picture))
    assert np.abs(back.pixels.astype(int) - 128).max() <= 4
    assert back.pixels.shape[2] == (3 if extension == ".webp" else 1)
    assert back.metadata.icc is None


@pytest.mark.parametrize("extension", [".png", ".jpg", ".tif"])
def test_grey_keeps_its_profile_where_it_can(tmp_path: Path, extension: str) -> None:
    picture = Picture(smooth(8, 8, 1), None, Metadata(icc=grey_profile()))
    assert read(write(tmp_path / f"a{extension}", picture)).metadata.icc == grey_profile()


@pytest.mark.parametrize("profile", [swapped_profile(), b"no profile", b""])
def test_a_profile_for_other_pixels_is_dropped(tmp_path: Path, profile: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(Image.new("L", (8, 8)), "JPEG", icc_profile=profile))
    assert read(path).metadata.icc is None


def test_a_broken_profile_does_not_stop_the_writing(tmp_path: Path) -> None:
    broken = swapped_profile()[:200]
    picture = Picture(smooth(8, 8), None, Metadata(icc=broken))
    np.testing.assert_array_equal(read(write(tmp_path / "a.bmp", picture)).pixels, picture.pixels)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_thumbnail_goes_and_the_rest_stays_in_its_place(order: str) -> None:
    block = exif(order)
    clean, orientation = clean_exif(block)
    assert orientation == 6
    assert clean is not None
    assert b"THUMBNAIL" in block
    assert b"THUMBNAIL" not in clean
    assert len(clean) < len(block)
    assert exif_value(clean, 274) == 1
    assert clean.index(b"maker's own notes") == block.index(b"maker's own notes")
    assert exif_resolution(clean) == (300.0, 300.0)


def test_a_thumbnail_in_the_middle_is_blanked() -> None:
    block = exif() + b"something of the camera's"
    start = block.index(b"\xff\xd8THUMBNAIL")
    moved = bytearray(block)
    link = struct.unpack("<I", block[4:8])[0]
    count = struct.unpack("<H", block[link : link + 2])[0]
    tail = len(block) - len(b"something of the camera's")
    entry = struct.pack("<HHII", 37500, 7, 25, tail)  # the note lies behind the thumbnail
    at = block.index(struct.pack("<HHI", 272, 2, 8))
    moved[at : at + 12] = entry
    assert count > 3
    clean, _ = clean_exif(bytes(moved))
    assert clean is not None
    assert len(clean) == len(block)
    assert clean[start : start + 13] == bytes(13)
    assert clean.endswith(b"something of the camera's")


@pytest.mark.parametrize("order", ["<", ">"])
def test_sizes_are_corrected_in_place(order: str) -> None:
    block, _ = clean_exif(exif(order))
    assert block is not None
    sized = sized_exif(block, 70000, 50)
    assert len(sized) == len(block)
    assert exif_value(sized, PIXEL_X, DETAILS) == 70000
    assert exif_value(sized, WIDTH) == 70000
    assert exif_value(sized, PIXEL_Y, DETAILS) == 50


@pytest.mark.parametrize("cut", range(0, 250, 7))
def test_damaged_exif_never_stops_a_picture(tmp_path: Path, cut: int) -> None:
    block = exif()[:cut]
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(Image.new("RGB", (8, 8)), "JPEG", exif=b"Exif\0\0" + block))
    picture = read(path)
    for extension in EXTENSIONS:
        read(write(tmp_path / f"b{extension}", picture))


@pytest.mark.parametrize("seed", range(40))
def test_garbled_exif_never_stops_a_picture(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    block = bytearray(exif("<" if seed % 2 else ">"))
    for place in rng.integers(4, len(block), 12):
        block[place] = rng.integers(256)
    path = tmp_path / "a.png"
    path.write_bytes(png(smooth(8, 8), 2, before=chunk(b"eXIf", bytes(block))))
    picture = read(path)
    for extension in EXTENSIONS:
        read(write(tmp_path / f"b{extension}", picture))


def test_metadata_too_long_for_jpeg_are_left_out_with_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    picture = Picture(smooth(8, 8), None, Metadata(xmp=XMP + b" " * 70000))
    with caplog.at_level(logging.WARNING):
        kept = read(write(tmp_path / "a.jpg", picture)).metadata
    assert kept.xmp is None
    assert "xmp data are longer than a JPEG can hold" in caplog.text


def test_a_long_profile_is_split_over_segments_in_jpeg(tmp_path: Path) -> None:
    profile = bytearray(swapped_profile() + noise(300, 256, 1).tobytes())
    profile[:4] = struct.pack(">I", len(profile))
    picture = Picture(smooth(8, 8), None, Metadata(icc=bytes(profile)))
    assert read(write(tmp_path / "a.jpg", picture)).metadata.icc == bytes(profile)


def test_resolution_in_centimetres(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8))
    path = tmp_path / "a.tif"
    image.save(path, resolution_unit="cm", x_resolution=100, y_resolution=50)
    assert read(path).metadata.dpi == pytest.approx((254, 127))


def test_resolutions_that_no_printer_knows_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(smooth(4, 4), 2, before=chunk(b"pHYs", struct.pack(">IIB", 0, 9, 1))))
    assert read(path).metadata.dpi is None


def test_a_tiff_of_its_own_keeps_no_tags_of_layout_in_exif(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(noise(4, 4), 2, tags=((270, 7, b"A description\0"),)))
    block = read(path).metadata.exif
    assert block is not None
    assert set(read_tags(block).main) == {270}


def test_a_plain_tiff_has_no_exif(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(noise(4, 4), 2))
    assert read(path).metadata == Metadata()


def test_big_tiff_with_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bimacosr.io.tiff_writer._CLASSIC_LIMIT", 0)
    pixels, alpha = noise(40, 30, 3, np.uint16), noise(40, 30, 1, np.uint16)[..., 0]
    path = write(tmp_path / "a.tif", Picture(pixels, alpha, full_metadata()))
    assert path.read_bytes()[:4] == b"II\x2b\0"
    back = read(path)
    np.testing.assert_array_equal(back.pixels, pixels)
    np.testing.assert_array_equal(back.alpha, alpha)
    assert back.metadata.icc == swapped_profile()
    assert back.metadata.exif is not None
    assert exif_value(back.metadata.exif, MAKER_NOTE, DETAILS) == b"maker's own notes " * 3


def test_a_big_endian_exif_makes_a_big_endian_tiff(tmp_path: Path) -> None:
    clean, _ = clean_exif(exif(">"))
    pixels = noise(9, 7, 3, np.uint16)
    path = write(tmp_path / "a.tif", Picture(pixels, None, Metadata(exif=clean)))
    assert path.read_bytes()[:2] == b"MM"
    back = read(path)
    np.testing.assert_array_equal(back.pixels, pixels)
    assert back.metadata.exif is not None
    assert exif_value(back.metadata.exif, 33434, DETAILS) == pytest.approx(0.005)
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels >> 8)
