from __future__ import annotations

import contextlib
import errno
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from picture_files import chunk, encoded, noise, png, read, smooth, tiff, write
from PIL import Image, ImageFile

from bimacosr.errors import BimacosrError, LimitError, ReadError
from bimacosr.io import Picture

KINDS = ["PNG", "JPEG", "WEBP", "TIFF", "BMP"]


def refused(path: Path, words: str, data: bytes | None = None, kind=ReadError) -> None:
    """Expect one sentence that names the file."""
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(kind, match=words) as caught:
        read(path)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert path.name in message
    assert "\n" not in message
    assert not message.endswith(".")
    assert len(message) < 400


def frames(count: int) -> list[Image.Image]:
    return [Image.fromarray(noise(16, 16, seed=seed)) for seed in range(count)]


def test_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.png", "none.png does not exist; check the path")


def test_a_file_used_as_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    refused(tmp_path / "file" / "none.png", "does not exist")


def test_folder(tmp_path: Path) -> None:
    (tmp_path / "album.png").mkdir()
    refused(tmp_path / "album.png", "is a folder; give a picture file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "is not a file but a device or pipe")


def test_empty_file(tmp_path: Path) -> None:
    refused(tmp_path / "a.png", r"is empty \(0 bytes\); get the file again", b"")


def test_no_picture(tmp_path: Path) -> None:
    words = "is no picture of a known format; give one of PNG, JPEG, WEBP, TIFF, BMP"
    refused(tmp_path / "a.png", words, b"Dear diary, " * 100)
    refused(tmp_path / "b.png", words, bytes(5000))
    refused(tmp_path / "c.png", words, b"P")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "a.png").write_bytes(b"x")
    monkeypatch.setattr(Path, "open", denied)
    refused(tmp_path / "a.png", "may not be read by you; change its permissions")


def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "a.png").write_bytes(b"x")
    monkeypatch.setattr(Path, "open", failing)
    refused(tmp_path / "a.png", r"cannot be read \(Input/output error\); try a copy")


def test_a_path_that_no_system_knows() -> None:
    with pytest.raises(ReadError, match="does not exist"):
        read(Path("a\0b.png"))


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"GIF89a", "is a GIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC picture"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf", "is a HEIC picture"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "is an AVIF picture"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "is an AVIF picture"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", r"is a camera raw file \(CR3\)"),
        (b"\0\0\0\x18ftypisom\0\0\0\1isommp41", "is a video"),
        (b"II*\0\x10\0\0\0CR\2\0", r"is a camera raw file \(CR2\)"),
        (b"FUJIFILMCCD-RAW 0201", "is a camera raw file"),
        (b"%PDF-1.7", "is a PDF document"),
        (b"\xff\x0a\xfa\x1f", "is a JPEG XL picture"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "is a JPEG XL picture"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "is a JPEG 2000 picture"),
        (b"8BPS\0\1", "is a Photoshop file"),
        (b"gimp xcf v011", "is a GIMP file"),
        (b"\0\0\1\0\1\0", "is an icon file"),
        (b'<svg xmlns="http://www.w3.org/2000/svg">', "is an SVG drawing"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<svg>', "is an SVG drawing"),
        (b"<!DOCTYPE html><html><body>404", "is a web page, not a picture"),
    ],
)
def test_other_kinds_of_files_are_named(tmp_path: Path, head: bytes, words: str) -> None:
    words += ".*, which cannot be read here; convert it to PNG or JPEG first"
    refused(tmp_path / "photo.jpg", words, head + bytes(400))


def test_camera_raw_files_are_not_read_as_their_preview(tmp_path: Path) -> None:
    preview = tiff(noise(8, 8), 2)
    refused(tmp_path / "photo.nef", r"is a camera raw file \(NEF\)", preview)
    dng = tiff(noise(8, 8), 2, tags=((50706, 1, b"\1\4\0\0"),))
    refused(tmp_path / "photo.tif", "is a camera raw file", dng)
    reduced = ((254, 4, struct.pack("<I", 1)), (330, 4, struct.pack("<I", 8)))
    refused(tmp_path / "b.tif", "is a camera raw file", tiff(noise(8, 8), 2, tags=reduced))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_file_cut_short_is_never_filled_with_grey(tmp_path: Path, kind: str, share) -> None:
    data = encoded(Image.fromarray(noise(64, 64)), kind)
    refused(
        tmp_path / "a", "is cut short|cannot be read as|no picture", data[: int(len(data) * share)]
    )


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_compressed_tiff_cut_short(tmp_path: Path, compression: str, share: float) -> None:
    buffer = io.BytesIO()
    write(tmp_path / "a.tif", Picture(noise(64, 64)))
    Image.fromarray(noise(64, 64)).save(buffer, "TIFF", compression=compression)
    for data in (buffer.getvalue(), (tmp_path / "a.tif").read_bytes()):
        refused(tmp_path / "b.tif", "cut short|cannot be read", data[: int(len(data) * share)])


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_last_bytes(tmp_path: Path, progressive: bool) -> None:
    data = encoded(Image.fromarray(noise(64, 64)), "JPEG", progressive=progressive)
    for end in (-2, -3, -40):
        refused(tmp_path / "a.jpg", "is cut short: the end of the JPEG data", data[:end])
    zeros = data[: len(data) // 2] + bytes(len(data) // 2)  # a download that reserved its room
    refused(tmp_path / "a.jpg", "is cut short", zeros)


def test_a_flipped_bit_in_a_png_is_noticed(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(noise(40, 40) // 8), "PNG")
    start, end = data.index(b"IDAT") + 4, data.rindex(b"IEND") - 8
    for place in range(start, end, 101):
        flipped = bytearray(data)
        flipped[place] ^= 4
        refused(tmp_path / "a.png", "checksum|cannot be read", bytes(flipped))


@pytest.mark.parametrize("kind", KINDS)
def test_garbled_files_give_a_picture_or_one_error(tmp_path: Path, kind: str) -> None:
    whole = encoded(Image.fromarray(smooth(24, 24)), kind)
    rng = np.random.default_rng(1)
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, min(len(data), 400), 3):
            data[place] = rng.integers(256)
        (tmp_path / "a").write_bytes(bytes(data))
        with contextlib.suppress(BimacosrError):
            read(tmp_path / "a", max_pixels=100_000)


@pytest.mark.parametrize("count", [2, 3])
def test_animations_are_refused(tmp_path: Path, count: int) -> None:
    first, *others = frames(count)
    words = rf"is animated \({count} frames\); extract the one you want as a PNG first"
    for kind in ("PNG", "WEBP"):
        data = encoded(first, kind, save_all=True, append_images=others, duration=100)
        refused(tmp_path / "a", words, data)


def test_pages_are_refused_but_a_small_version_is_not_a_page(tmp_path: Path) -> None:
    first, second = frames(2)
    data = encoded(first, "TIFF", save_all=True, append_images=[second])
    refused(tmp_path / "a.tif", "has 2 pages; extract the one you want", data)
    kind = b"\xfe\0\4\0\1\0\0\0"
    (tmp_path / "b.tif").write_bytes(with_thumbnail(tiff(noise(8, 8), 2), kind))
    np.testing.assert_array_equal(read(tmp_path / "b.tif").pixels, noise(8, 8))


def with_thumbnail(data: bytes, kind: bytes) -> bytes:
    """Append a second directory, of a picture that `kind` says is a reduced one."""
    start = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[start : start + 2])[0]
    link = start + 2 + 12 * count
    table = data[start + 2 : link]
    second = struct.pack("<H", count + 1) + kind + struct.pack("<I", 1) + table + bytes(4)
    return data[:link] + struct.pack("<I", len(data)) + data[link + 4 :] + second


def test_one_frame_alone_is_a_picture(tmp_path: Path) -> None:
    samples = noise(8, 8)
    whole = png(samples, 2)
    head = chunk(b"acTL", struct.pack(">II", 1, 0))
    head += chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 10, 0, 0))
    at = whole.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(whole[:at] + head + whole[at:])
    np.testing.assert_array_equal(read(tmp_path / "a.png").pixels, samples)
    single = encoded(Image.fromarray(samples), "WEBP", save_all=True, lossless=True)
    (tmp_path / "a.webp").write_bytes(single)
    np.testing.assert_array_equal(read(tmp_path / "a.webp").pixels, samples)


@pytest.mark.parametrize("kind", KINDS)
def test_the_limit_is_ours_and_names_its_option(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "big"
    path.write_bytes(encoded(Image.new("RGB", (300, 200)), kind))
    with pytest.raises(LimitError, match=r"big is 300x200 px .* --max-pixels$") as caught:
        read(path, max_pixels=59_999)
    assert "0.06 Mpx" in str(caught.value)
    assert read(path, max_pixels=60_000).pixels.shape == (200, 300, 3)


def test_the_limit_holds_before_anything_is_decoded(tmp_path: Path) -> None:
    huge = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", huge) + chunk(b"IDAT", b"")
    refused(tmp_path / "a.png", "is 60000x60000 px", data, LimitError)
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\xff" * 2
    riff = b"RIFF" + struct.pack("<I", len(canvas) + 4) + b"WEBP" + canvas
    refused(tmp_path / "a.webp", "is 16777216x16777216 px", riff + bytes(8), LimitError)


def test_pillows_own_limit_decides_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for kind in KINDS:
        (tmp_path / "a").write_bytes(encoded(Image.fromarray(smooth(40, 40)), kind))
        assert read(tmp_path / "a").pixels.shape == (40, 40, 3)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_settings_of_pillow_are_left_as_they_were(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    refused(tmp_path / "a.png", "cannot be read", b"\x89PNG\r\n\x1a\n" + bytes(50))
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt", b"iTXt"])
def test_bombs_in_chunks_are_refused(tmp_path: Path, kind: bytes) -> None:
    packed = zlib.compress(bytes(200_000_000))
    head = b"name\0\1\0\0\0" if kind == b"iTXt" else b"name\0\0"
    data = png(smooth(4, 4), 2, before=chunk(kind, head + packed))
    refused(tmp_path / "a.png", "holds a text or profile block that is unsafely large", data)


def test_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def starved(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("bimacosr.io.picture.upright", starved)
    refused(tmp_path / "a.png", "needs more memory than is free", png(smooth(4, 4), 2))


def test_names_cannot_command_a_terminal(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"red\?\[31m\?\.png does not exist"):
        read(tmp_path / "red\x1b[31m\n.png")


def test_warnings_of_pillow_stay_inside(tmp_path: Path) -> None:
    data = bytearray(tiff(noise(8, 8), 2, tags=((60000, 7, b"A description\0"),)))
    place = data.index(struct.pack("<HHI", 60000, 7, 14)) + 8
    data[place : place + 4] = struct.pack("<I", 10**6)  # the text lies outside the file
    (tmp_path / "a.tif").write_bytes(bytes(data))
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, noise(8, 8))
