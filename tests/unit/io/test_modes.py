from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from picture_files import chunk, cmyk_profile, encoded, noise, png, read, tiff
from PIL import Image, ImageCms

from bimacosr.errors import ReadError
from bimacosr.io.profiles import profile_space, srgb_profile


def saved(tmp_path: Path, data: bytes, name: str = "a") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png_of_others(tmp_path: Path, colour_type, channels, interlaced) -> None:
    samples = noise(21, 13, channels, np.uint16)
    back = read(saved(tmp_path, png(samples, colour_type, 16, interlaced=interlaced)))
    colours = channels - (channels in (2, 4))
    np.testing.assert_array_equal(back.pixels, samples[..., :colours])
    if colours < channels:
        np.testing.assert_array_equal(back.alpha, samples[..., -1])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize(
    ("photometric", "channels", "extra"),
    [(1, 1, ()), (2, 3, ()), (1, 2, (2,)), (2, 4, (2,)), (2, 4, (0,)), (1, 2, (0,))],
)
def test_16_bit_tiff_of_others(
    tmp_path: Path, order, compression, photometric, channels, extra
) -> None:
    samples = noise(19, 23, channels, np.uint16)
    data = tiff(samples, photometric, order=order, compression=compression, extra=extra)
    back = read(saved(tmp_path, data))
    colours = channels - len(extra)
    np.testing.assert_array_equal(back.pixels, samples[..., :colours])
    assert (back.alpha is not None) == (extra == (2,))
    if back.alpha is not None:
        np.testing.assert_array_equal(back.alpha, samples[..., -1])


@pytest.mark.parametrize(("photometric", "colours"), [(1, 1), (2, 3)])
def test_premultiplied_16_bit_colours_are_divided_by_alpha(
    tmp_path: Path, photometric: int, colours: int
) -> None:
    alpha = np.array([[[65535], [32768], [0]]], np.uint16)
    plain = np.full((1, 3, colours), 40000, np.uint16)
    samples = np.round(plain * (alpha / 65535)).astype(np.uint16)
    data = tiff(np.concatenate([samples, alpha], -1), photometric, extra=(1,))
    back = read(saved(tmp_path, data))
    assert np.abs(back.pixels[:, :2].astype(int) - 40000).max() <= 1
    np.testing.assert_array_equal(back.alpha, alpha[..., 0])


def test_12_bit_tiff_is_stretched_to_16(tmp_path: Path) -> None:
    data = bytearray(tiff(np.zeros((1, 2, 1), np.uint16), 1, bits=12))
    data[8:11] = bytes([0xFF, 0xF0, 0x00])  # two 12-bit values: 4095 and 0
    assert read(saved(tmp_path, bytes(data))).pixels.ravel().tolist() == [65535, 0]


def test_white_is_zero_is_turned_round(tmp_path: Path) -> None:
    samples = noise(5, 6, 1, np.uint16)
    back = read(saved(tmp_path, tiff(samples, 0)))
    np.testing.assert_array_equal(back.pixels, 65535 - samples)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("keyed", [False, True])
def test_grey_of_every_depth_with_and_without_a_transparent_value(tmp_path, depth, keyed) -> None:
    samples = np.arange(2**depth)[: 2**8].reshape(1, -1, 1)
    key = 2**depth - 1 if depth < 16 else 7
    before = chunk(b"tRNS", key.to_bytes(2, "big")) if keyed else b""
    back = read(saved(tmp_path, png(samples, 0, depth, before=before)))
    assert back.pixels.shape[2] == 1
    full = 65535 if depth == 16 else 255
    np.testing.assert_array_equal(back.pixels, samples * (full // (2**depth - 1)))
    if keyed:
        np.testing.assert_array_equal(back.alpha, np.where(samples[..., 0] == key, 0, full))
    else:
        assert back.alpha is None


@pytest.mark.parametrize("depth", [8, 16])
def test_the_transparent_colour_of_an_rgb_png(tmp_path: Path, depth: int) -> None:
    samples = noise(8, 9, 3, np.uint8 if depth == 8 else np.uint16)
    samples[0, 1] = samples[0, 0]
    samples[0, 2] = samples[0, 0]
    samples[0, 2, 2] ^= 1  # in 16 bits only the low byte differs
    key = b"".join(int(value).to_bytes(2, "big") for value in samples[0, 0])
    back = read(saved(tmp_path, png(samples, 2, depth, before=chunk(b"tRNS", key))))
    np.testing.assert_array_equal(back.pixels, samples)
    assert back.alpha is not None
    assert back.alpha[0, :3].tolist() == [0, 0, np.iinfo(samples.dtype).max]


@pytest.mark.parametrize("transparency", [None, b"\0", bytes([10, 200])])
def test_a_palette_becomes_rgb(tmp_path: Path, transparency: bytes | None) -> None:
    palette = bytes([255, 0, 0, 0, 255, 0, 0, 0, 255])
    before = chunk(b"PLTE", palette)
    before += chunk(b"tRNS", transparency) if transparency is not None else b""
    samples = np.array([[0, 1, 2, 1]])[..., None]
    back = read(saved(tmp_path, png(samples, 3, 2, before=before)))
    wanted = np.frombuffer(palette, np.uint8).reshape(3, 3)[samples[..., 0]]
    np.testing.assert_array_equal(back.pixels, wanted)
    if transparency is None:
        assert back.alpha is None
    else:
        levels = np.frombuffer(transparency.ljust(3, b"\xff"), np.uint8)
        np.testing.assert_array_equal(back.alpha, levels[samples[..., 0]])


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA"])
def test_alpha_in_8_bit_modes(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(noise(9, 8, 4), "RGBA").convert(mode)
    path = tmp_path / "a"
    image.save(path, "TIFF" if mode == "PA" else "PNG")
    back = read(path)
    assert back.pixels.shape[2] == (1 if mode == "LA" else 3)
    np.testing.assert_array_equal(back.alpha, np.asarray(image.getchannel("A")))


def test_a_one_bit_picture_is_grey(tmp_path: Path) -> None:
    image = Image.fromarray(noise(9, 17, 1)[..., 0]).convert("1")
    for kind in ("PNG", "TIFF", "BMP"):
        back = read(saved(tmp_path, encoded(image, kind)))
        np.testing.assert_array_equal(back.pixels[..., 0], np.asarray(image.convert("L")))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile_to_srgb(tmp_path: Path, kind: str) -> None:
    inks = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    back = read(saved(tmp_path, encoded(inks, kind, icc_profile=cmyk_profile())))
    red, green, blue = back.pixels.mean((0, 1))
    assert red > green + 50  # that press prints cyan as red
    assert red > blue + 50
    assert back.metadata.icc == srgb_profile()
    paper = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    back = read(saved(tmp_path, encoded(paper, kind, icc_profile=cmyk_profile())))
    assert (back.pixels > 250).all()


@pytest.mark.parametrize("profile", [None, cmyk_profile()[:300]])
def test_cmyk_without_a_usable_profile_is_converted_plainly(tmp_path: Path, profile) -> None:
    inks = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    back = read(saved(tmp_path, encoded(inks, "JPEG", icc_profile=profile)))
    assert back.metadata.icc is None
    np.testing.assert_allclose(back.pixels[0, 0], [0, 255, 255], atol=2)


def test_ycck_jpegs_of_adobe_are_not_inverted(tmp_path: Path) -> None:
    """Pillow writes Adobe's inverted CMYK; the marker is the one that Photoshop sets."""
    data = encoded(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG")
    assert b"Adobe" in data
    assert (read(saved(tmp_path, data)).pixels > 250).all()


def test_lab_becomes_srgb(tmp_path: Path) -> None:
    source = Image.new("RGB", (8, 8), (200, 60, 90))
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    lab = ImageCms.applyTransform(source, transform)
    assert lab is not None
    back = read(saved(tmp_path, encoded(lab, "TIFF")))
    assert np.abs(back.pixels.astype(int) - np.asarray(source)).max() <= 3
    assert back.metadata.icc == srgb_profile()


def test_the_srgb_profile_is_the_same_at_every_call() -> None:
    assert srgb_profile() == srgb_profile()
    assert profile_space(srgb_profile()) == "RGB"
    ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (encoded(Image.new("F", (4, 4)), "TIFF"), "floating-point pixels"),
        (encoded(Image.new("I", (4, 4)), "TIFF"), "32-bit or signed pixels"),
        (tiff(np.zeros((4, 4, 1), np.int16), 1, sample_format=2), "32-bit or signed pixels"),
        (tiff(noise(4, 4, 3, np.uint16), 2, planar=2), "separate planes"),
    ],
    ids=["float", "int32", "int16", "planar"],
)
def test_pixels_of_unknown_range_or_layout_are_refused(tmp_path: Path, data, words: str) -> None:
    with pytest.raises(ReadError, match=words):
        read(saved(tmp_path, data))
