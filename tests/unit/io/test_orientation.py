from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from picture_files import XMP, chunk, encoded, exif, exif_value, png, read, smooth, tiff
from PIL import Image, ImageOps

from bimacosr.io.decode import upright


def turned(image: Image.Image, orientation: int) -> np.ndarray:
    """Pillow's opinion of how a stored picture is to be shown."""
    tagged = image.copy()
    tagged.getexif()[274] = orientation
    return np.asarray(ImageOps.exif_transpose(tagged))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "TIFF16"])
def test_pixels_are_turned_upright_and_the_tag_set_to_1(tmp_path, kind: str, orientation) -> None:
    stored = smooth(24, 40)
    image = Image.fromarray(stored)
    path = tmp_path / "a"
    if kind == "TIFF":
        path.write_bytes(encoded(image, kind, tiffinfo={274: orientation, 271: "Maker"}))
    elif kind == "TIFF16":
        tags = ((274, 3, orientation.to_bytes(2, "little")), (271, 7, b"Maker\0"))
        path.write_bytes(tiff(stored.astype(np.uint16) * 257, 2, tags=tags))
    else:
        block = exif(orientation=orientation)
        path.write_bytes(encoded(image, kind, exif=b"Exif\0\0" + block, quality=100))
    back = read(path)
    wanted = turned(image, orientation).astype(int) * (257 if kind == "TIFF16" else 1)
    lossy = kind in ("JPEG", "WEBP")
    assert back.pixels.shape == wanted.shape
    assert np.abs(back.pixels - wanted).max() <= (12 if lossy else 0)
    assert back.metadata.exif is not None
    assert exif_value(back.metadata.exif, 274) in (1, None)
    assert "Maker" in str(exif_value(back.metadata.exif, 271))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_alpha_turns_with_the_colours_in_16_bits(orientation: int) -> None:
    block = np.random.default_rng(0).integers(0, 65536, (7, 5, 4)).astype(np.uint16)
    colours, alpha = upright(lambda top, bottom: block[top:bottom], (5, 7), orientation)
    planes = [turned(Image.fromarray(block[..., k]), orientation) for k in range(4)]
    np.testing.assert_array_equal(colours, np.stack(planes[:3], -1))
    assert alpha is not None
    np.testing.assert_array_equal(alpha, planes[3])
    assert colours.flags.c_contiguous
    assert alpha.flags.c_contiguous


def test_xmp_decides_where_exif_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    packet = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    path.write_bytes(png(smooth(4, 6), 2, after=packet))
    back = read(path)
    assert back.pixels.shape == (6, 4, 3)
    assert back.metadata.xmp == XMP.replace(b'"6"', b'"1"')


def test_exif_wins_over_xmp(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    block = b"Exif\0\0" + exif(orientation=1)
    path.write_bytes(encoded(Image.fromarray(smooth(8, 16)), "JPEG", exif=block, xmp=XMP))
    assert read(path).pixels.shape == (8, 16, 3)


def test_the_old_way_of_exif_in_png_is_understood(tmp_path: Path) -> None:
    digits = (b"Exif\0\0" + exif(orientation=6)).hex()
    text = f"\nexif\n{len(digits) // 2:8}\n{digits}\n".encode()
    path = tmp_path / "a.png"
    path.write_bytes(png(smooth(4, 6), 2, before=chunk(b"tEXt", b"Raw profile type exif\0" + text)))
    assert read(path).pixels.shape == (6, 4, 3)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_counts_as_upright(tmp_path: Path, value: int) -> None:
    path = tmp_path / "a.jpg"
    block = b"Exif\0\0" + exif(orientation=1).replace(
        b"\x12\x01\x03\x00\x01\x00\x00\x00\x01\x00",
        b"\x12\x01\x03\x00\x01\x00\x00\x00" + value.to_bytes(2, "little"),
    )
    path.write_bytes(encoded(Image.fromarray(smooth(8, 16)), "JPEG", exif=block))
    assert read(path).pixels.shape == (8, 16, 3)
