"""A picture out to a file: made to fit its format, written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from bimacosr.config.picture import OutputSettings
from bimacosr.errors import WriteError
from bimacosr.io.atomic import atomic_file
from bimacosr.io.failures import shown, writing
from bimacosr.io.fit import fitted
from bimacosr.io.formats import PictureFormat, format_for
from bimacosr.io.picture import Picture

__all__ = ["check_target", "write_picture"]


def write_picture(path: str | Path, picture: Picture, *, settings: OutputSettings) -> None:
    """Write a picture; `path` holds either all of it or what it held before.

    What the format cannot hold is turned into what it can: 16 bits into 8 (JPEG, WebP, BMP),
    transparency into white (JPEG, BMP), grey into RGB (WebP), colours of a profile into sRGB
    (BMP; grey ones in WebP). EXIF says the new size.

    Args:
        path: Where to; missing folders are made.
        picture: Pixels and what belongs to them; `picture.format` does not matter here.
        settings: Format (else by the extension of `path`), quality, and whether to strip.

    Raises:
        OptionError: neither the settings nor the path name a format.
        WriteError: the picture is too large for the format, or the file cannot be written.
    """
    path = Path(path)
    height, width = picture.pixels.shape[:2]
    form = check_target(path, (height, width), settings)
    metadata = picture.metadata
    metadata = metadata.stripped() if settings.strip_metadata else metadata.for_size(width, height)
    pixels, alpha, metadata = fitted(form, picture.pixels, picture.alpha, metadata)
    with atomic_file(path) as file:
        form.write(file, pixels, alpha, metadata, settings)


def check_target(path: Path, size: tuple[int, int], settings: OutputSettings) -> PictureFormat:
    """Find the format of a result, before the work of making one that it could not hold.

    Args:
        path: Where the result will go.
        size: Its height and width.
        settings: Format, else by the extension of `path`.

    Raises:
        OptionError: neither the settings nor the path name a format.
        WriteError: the format does not hold so many pixels a side, or the folder cannot be
            written to.
    """
    form = format_for(settings.format if settings.format is not None else path)
    height, width = size
    if max(width, height) > form.max_side:
        raise WriteError(
            f"{shown(path)} would be {width}x{height} px, and {form.name} holds {form.max_side} px "
            "a side at most; choose PNG or TIFF"
        )
    with writing(path):
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    return form
