"""What a file is, told from its first bytes: one of our formats, or what it is instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bimacosr.errors import ReadError
from bimacosr.io.failures import shown
from bimacosr.io.formats import FORMATS, PictureFormat

__all__ = ["HEAD_BYTES", "recognise"]

HEAD_BYTES = 1024
"""So much of a file is needed to know it."""

_RAW_EXTENSIONS = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef"),
    *(".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2"),
    *(".srf", ".srw", ".x3f"),
)
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")


def _brand(*names: bytes) -> Callable[[bytes], bool]:
    """Look for a brand of an ISO media file, among its main one and those it is compatible with."""

    def found(head: bytes) -> bool:
        if head[4:8] != b"ftyp":
            return False
        listed = head[8 : min(int.from_bytes(head[:4], "big"), len(head))]
        return any(listed[at : at + 4] in names for at in range(0, len(listed), 4))

    return found


def _starts(*marks: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(marks)


def _text_with(*marks: bytes) -> Callable[[bytes], bool]:
    """Look for the first words of a markup file, behind what may stand before them."""

    def found(head: bytes) -> bool:
        text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
        return text.startswith(marks) or (
            text.startswith((b"<?xml", b"<!--")) and any(mark in text for mark in marks)
        )

    return found


_OTHERS: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("a GIF", _starts(b"GIF87a", b"GIF89a")),
    ("an AVIF picture", _brand(*_AVIF_BRANDS)),
    ("a HEIC picture", _brand(*_HEIC_BRANDS)),
    ("a camera raw file (CR3)", _brand(b"crx ")),
    ("a video", lambda head: head[4:8] == b"ftyp" or head.startswith(b"\x1aE\xdf\xa3")),
    ("a JPEG XL picture", _starts(b"\xff\x0a", b"\0\0\0\x0cJXL ")),
    ("a JPEG 2000 picture", _starts(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    ("a camera raw file (CR2)", lambda head: head[:4] == b"II*\0" and head[8:10] == b"CR"),
    ("a camera raw file", _starts(b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")),
    ("a PDF document", _starts(b"%PDF")),
    ("a PostScript file", _starts(b"%!PS", b"\xc5\xd0\xd3\xc6")),
    ("a Photoshop file", _starts(b"8BPS")),
    ("a GIMP file", _starts(b"gimp xcf")),
    ("an OpenEXR picture", _starts(b"\x76\x2f\x31\x01")),
    ("an icon file", _starts(b"\0\0\1\0", b"\0\0\2\0", b"icns")),
    ("an SVG drawing", _text_with(b"<svg")),
    ("a web page, not a picture", _text_with(b"<!doctype html", b"<html")),
)


def recognise(head: bytes, path: Path) -> PictureFormat:
    """Tell the format of a file; its extension matters only for camera raw files.

    Those are TIFF files inside, and as such would open as their small preview.

    Args:
        head: The first `HEAD_BYTES` bytes of the file.
        path: Where it lies, for the message.

    Raises:
        ReadError: "photo.heic is a HEIC picture, which cannot be read here; convert it ..."
    """
    if not head:
        raise ReadError(f"{shown(path)} is empty (0 bytes); get the file again")
    for name, matches in _OTHERS:
        if matches(head):
            raise _foreign(path, name)
    for form in FORMATS:
        if form.matches(head):
            if form.name == "TIFF" and path.suffix.lower() in _RAW_EXTENSIONS:
                raise _foreign(path, f"a camera raw file ({path.suffix[1:].upper()})")
            return form
    names = ", ".join(form.name for form in FORMATS)
    raise ReadError(f"{shown(path)} is no picture of a known format; give one of {names}")


def _foreign(path: Path, name: str) -> ReadError:
    return ReadError(
        f"{shown(path)} is {name}, which cannot be read here; convert it to PNG or JPEG first"
    )
