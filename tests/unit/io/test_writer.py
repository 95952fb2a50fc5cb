from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from picture_files import noise, read, smooth, write

from bimacosr.config.picture import OutputSettings
from bimacosr.errors import OptionError, PictureError, WriteError
from bimacosr.io import FORMATS, Picture, atomic

EXTENSIONS = [form.extensions[0] for form in FORMATS]
SMALL = Picture(smooth(16, 24))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def failing(error: BaseException):
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_what_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str, error: BaseException
) -> None:
    path = tmp_path / f"a{extension}"
    path.write_bytes(b"precious")
    monkeypatch.setattr(atomic, "_sync", failing(error))
    with pytest.raises((KeyboardInterrupt, WriteError)):
        write(path, SMALL)
    assert path.read_bytes() == b"precious"
    assert names_in(tmp_path) == [path.name]


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_an_encoder_that_crashes_leaves_nothing(tmp_path, monkeypatch, extension: str) -> None:
    monkeypatch.setattr("bimacosr.io.atomic.os.fdopen", crashing_fdopen)
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / f"a{extension}", SMALL)
    assert names_in(tmp_path) == []


def crashing_fdopen(handle: int, mode: str):
    file = open(handle, mode)  # noqa: SIM115

    class Crashing:
        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            file.close()

        def write(self, data: bytes) -> int:
            file.write(data[: len(data) // 2])
            raise ZeroDivisionError

        def tell(self) -> int:
            return file.tell()

    return Crashing()


def test_nothing_is_seen_at_the_place_before_all_is_written(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.png"
    seen = []
    monkeypatch.setattr(atomic, "_sync", lambda _: seen.append((path.exists(), names_in(tmp_path))))
    write(path, SMALL)
    ((existed, names),) = seen
    assert not existed
    assert len(names) == 1
    assert names[0].startswith(".a.png.")
    assert names[0].endswith(".part")
    assert names_in(tmp_path) == ["a.png"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (
            errno.ENOSPC,
            "the disk is full while writing .*a.png: free some space and run again with",
        ),
        (errno.EROFS, "a.png lies on a read-only file system; choose another output folder"),
        (errno.EACCES, "a.png may not be written by you; change the folder's permissions"),
        (errno.EFBIG, "a.png is larger than this disk's file system"),
        (errno.ENAMETOOLONG, "a.png has too long a name"),
        (errno.EIO, r"a.png cannot be written \(Input/output error\); try another folder"),
    ],
)
def test_refusals_of_the_system_in_one_sentence(tmp_path, monkeypatch, number, words) -> None:
    error = OSError(number, os.strerror(number))
    monkeypatch.setattr("bimacosr.io.atomic.os.open", failing(error))
    with pytest.raises(WriteError, match=words) as caught:
        write(tmp_path / "a.png", SMALL)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(WriteError, match="a part of its path is a file, not a folder"):
        write(tmp_path / "file" / "below" / "a.png", SMALL)
    with pytest.raises(WriteError, match="a part of its path is a file, not a folder"):
        write(tmp_path / "file" / "a.png", SMALL)


def test_too_little_memory_for_an_encoder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("bimacosr.io.pillow_writers._image", failing(MemoryError()))
    with pytest.raises(WriteError, match=r"not enough memory .* choose PNG or TIFF"):
        write(tmp_path / "a.jpg", SMALL)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of files")
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_real_limit_of_the_system(tmp_path: Path, extension: str) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(WriteError, match="is larger than this disk's file system"):
            write(tmp_path / f"a{extension}", Picture(noise(200, 200)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names_in(tmp_path) == []


def test_missing_folders_are_made(tmp_path: Path) -> None:
    assert write(tmp_path / "a" / "b" / "c.png", SMALL).is_file()


def test_a_folder_or_device_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(WriteError, match=r"a\.png is a folder; give the name of a file"):
        write(tmp_path / "a.png", SMALL)
    if Path("/dev/null").is_char_device():
        with pytest.raises(WriteError, match="/dev/null is not a file but a device"):
            write(Path("/dev/null"), SMALL, format="png")
        assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write(tmp_path / "real" / "a.png", SMALL)
    (tmp_path / "link.png").symlink_to(tmp_path / "real" / "a.png")
    other = Picture(noise(5, 5))
    write(tmp_path / "link.png", other)
    assert (tmp_path / "link.png").is_symlink()
    np.testing.assert_array_equal(read(tmp_path / "real" / "a.png").pixels, other.pixels)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    path = write(tmp_path / "a.png", SMALL)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_long_name_still_has_room_for_the_hidden_one(tmp_path: Path) -> None:
    for name in ("x" * 251 + ".png", "ä" * 120 + ".png"):
        assert write(tmp_path / name, SMALL).is_file()


def test_a_disk_that_cannot_sync_is_forgiven(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("bimacosr.io.atomic.os.fsync", failing(OSError(errno.EINVAL, "no")))
    assert write(tmp_path / "a.png", SMALL).is_file()


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        (
            "a.jpg",
            (1, 65536),
            "would be 65536x1 px, and JPEG holds 65535 px a side at most; choose",
        ),
        (
            "a.webp",
            (16384, 1),
            "would be 1x16384 px, and WEBP holds 16383 px a side at most; choose",
        ),
    ],
)
def test_pictures_too_large_for_their_format(tmp_path, name, shape, words) -> None:
    with pytest.raises(WriteError, match=words + " PNG or TIFF"):
        write(tmp_path / name, Picture(np.zeros((*shape, 1), np.uint8)))


def test_the_format_comes_from_the_settings_or_the_name(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.JPG", SMALL)).format == "JPEG"
    assert read(write(tmp_path / "a.jpg", SMALL, format="webp")).format == "WEBP"
    assert read(write(tmp_path / "none", SMALL, format="tiff")).format == "TIFF"


@pytest.mark.parametrize("name", ["a.gif", "none", "png"])
def test_no_format_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match=r"does not name a picture format .* choose one of PNG"):
        write(tmp_path / name, SMALL)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("value", [0, 101, 95.0, True])
def test_quality_out_of_range(value: object) -> None:
    with pytest.raises(OptionError, match=f"quality is {value!r}; it must be a whole number from"):
        OutputSettings(quality=value)  # type: ignore[arg-type]


def test_an_empty_format() -> None:
    with pytest.raises(OptionError, match="format is empty"):
        OutputSettings(format="")


@pytest.mark.parametrize(
    ("pixels", "alpha", "words"),
    [
        (np.zeros((4, 4), np.uint8), None, "pixels are 4x4 of uint8"),
        (np.zeros((4, 4, 2), np.uint8), None, "pixels are 4x4x2 of uint8"),
        (np.zeros((4, 4, 3), np.float32), None, "pixels are 4x4x3 of float32"),
        (np.zeros((0, 4, 3), np.uint8), None, "pixels are 4x0; both sides must be 1 or more"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8), "alpha is 4x5 of uint8"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint16), "alpha is 4x4 of uint16"),
    ],
)
def test_arrays_that_are_no_picture(pixels, alpha, words: str) -> None:
    with pytest.raises(PictureError, match=words):
        Picture(pixels, alpha)
