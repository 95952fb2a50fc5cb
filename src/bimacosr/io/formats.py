"""The picture formats, one row each: what a format can hold, how it is known, opened, written.

To add one: a row in `FORMATS`, and a file with its `write` function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from bimacosr.config.picture import OutputSettings
from bimacosr.errors import OptionError
from bimacosr.io.failures import shown
from bimacosr.io.metadata import Metadata
from bimacosr.io.pillow_writers import write_bmp, write_jpeg, write_webp
from bimacosr.io.png_writer import write_png
from bimacosr.io.tiff_reader import TiffFile
from bimacosr.io.tiff_writer import write_tiff
from bimacosr.io.webp_header import webp_size

__all__ = ["FORMATS", "PictureFormat", "format_for", "is_picture_name"]

Write = Callable[[BinaryIO, np.ndarray, "np.ndarray | None", Metadata, OutputSettings], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFormat:
    """One format."""

    name: str
    """As Pillow calls it, and as messages do."""
    extensions: tuple[str, ...]
    """In lower case with the dot; the first is the usual one."""
    matches: Callable[[bytes], bool]
    """Whether a file that begins with these bytes is one."""
    opener: Callable[[BinaryIO], ImageFile]
    """Pillow's reader of this one format; it reads the header, not yet the pixels."""
    header_size: Callable[[bytes], tuple[int, int] | None] | None = None
    """Width and height from the first bytes, where the opener takes memory for the pixels."""
    write: Write
    """Writes what `fit.fitted` made fit: H x W x 1 or 3 colours, alpha or None."""
    depth_16: bool = False
    """Holds 16 bits per channel."""
    alpha: bool = False
    """Holds transparency."""
    grey: bool = True
    """Holds one channel as one channel."""
    profile: bool = True
    """Holds an ICC profile."""
    max_side: int = 2**31 - 1
    """The longest side that a file can have, in pixels."""


FORMATS: tuple[PictureFormat, ...] = (
    PictureFormat(
        name="PNG",
        extensions=(".png",),
        matches=lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"),
        opener=PngImageFile,
        write=write_png,
        depth_16=True,
        alpha=True,
    ),
    PictureFormat(
        name="JPEG",  # phones' MPO files too: their first picture is a whole JPEG
        extensions=(".jpg", ".jpeg", ".jpe", ".jfif"),
        matches=lambda head: head.startswith(b"\xff\xd8\xff"),
        opener=JpegImageFile,
        write=write_jpeg,
        max_side=65535,
    ),
    PictureFormat(
        name="WEBP",
        extensions=(".webp",),
        matches=lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP",
        opener=WebPImageFile,
        header_size=webp_size,
        write=write_webp,
        alpha=True,
        grey=False,
        max_side=16383,
    ),
    PictureFormat(
        name="TIFF",
        extensions=(".tif", ".tiff"),
        matches=lambda head: head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
        opener=TiffFile,
        write=write_tiff,
        depth_16=True,
        alpha=True,
    ),
    PictureFormat(
        name="BMP",
        extensions=(".bmp", ".dib"),
        matches=lambda head: head.startswith(b"BM"),
        opener=BmpImageFile,
        write=write_bmp,
        profile=False,
    ),
)


def format_for(name: str | Path) -> PictureFormat:
    """Find a format by its name ("png", "JPEG"), an extension (".jpg", "jpg") or a file's path.

    Raises:
        OptionError: "out/x.gif: .gif is not a format to write; choose PNG, JPEG, ..."
    """
    word = str(name).lower()
    suffix = Path(name).suffix.lower()
    for form in FORMATS:
        if word == form.name.lower() or {word, f".{word}", suffix} & set(form.extensions):
            return form
    names = ", ".join(form.name for form in FORMATS)
    raise OptionError(
        f"{shown(Path(name))} does not name a picture format that can be written; "
        f"choose one of {names}"
    )


def is_picture_name(path: str | Path) -> bool:
    """Tell by the name alone whether a file in a folder is a picture to work on; hidden ones no."""
    name = Path(path).name
    extensions = {extension for form in FORMATS for extension in form.extensions}
    return not name.startswith(".") and Path(name).suffix.lower() in extensions
