"""JPEG, WebP and BMP files, written by Pillow."""

from __future__ import annotations

import logging
from typing import BinaryIO

import numpy as np
from PIL import Image

from bimacosr.config.picture import OutputSettings
from bimacosr.io.exif import exif_with_resolution
from bimacosr.io.metadata import Metadata

__all__ = ["write_bmp", "write_jpeg", "write_webp"]

_log = logging.getLogger(__name__)

_EXIF_MARK = b"Exif\0\0"
_MAX_SEGMENT = 65533
_XMP_OVERHEAD = 29
_FULL_COLOUR_FROM = 90
_LOSSLESS = 100


class _Sink:
    """A file that can only be written to.

    Given a real file, Pillow's encoders write to its number and overlook a write that the
    system cut short, as it does when the disk fills up.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def write_jpeg(
    file: BinaryIO,
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    metadata: Metadata,
    settings: OutputSettings,
) -> None:
    """Write a baseline JPEG, colours at full resolution from quality 90 on.

    EXIF or XMP that is longer than a JPEG can hold (64 KB) is left out, with a line in the log.
    """
    options: dict[str, object] = {}
    if metadata.exif:
        options["exif"] = _EXIF_MARK + metadata.exif
    if metadata.xmp:
        options["xmp"] = metadata.xmp
    for name, overhead in (("exif", 0), ("xmp", _XMP_OVERHEAD)):
        held = options.get(name)
        if isinstance(held, bytes) and len(held) + overhead > _MAX_SEGMENT:
            _log.warning("the %s data are longer than a JPEG can hold and are left out", name)
            del options[name]
    if metadata.dpi and max(metadata.dpi) < 65535.5:
        options["dpi"] = metadata.dpi
    _image(pixels, alpha).save(
        _Sink(file),  # type: ignore[arg-type]
        "JPEG",
        quality=settings.quality,
        subsampling=0 if settings.quality >= _FULL_COLOUR_FROM else 2,
        icc_profile=metadata.icc,
        **options,
    )


def write_webp(
    file: BinaryIO,
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    metadata: Metadata,
    settings: OutputSettings,
) -> None:
    """Write a WebP, lossless at quality 100; the resolution goes into EXIF, its only place."""
    exif = metadata.exif
    if metadata.dpi:
        exif = exif_with_resolution(exif, metadata.dpi)
    _image(pixels, alpha).save(
        _Sink(file),  # type: ignore[arg-type]
        "WEBP",
        quality=settings.quality,
        lossless=settings.quality == _LOSSLESS,
        exact=settings.quality == _LOSSLESS,
        icc_profile=metadata.icc,
        exif=exif or b"",
        xmp=metadata.xmp or b"",
    )


def write_bmp(
    file: BinaryIO,
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    metadata: Metadata,
    settings: OutputSettings,
) -> None:
    """Write an uncompressed BMP; of the metadata it holds the resolution alone."""
    options = {"dpi": metadata.dpi} if metadata.dpi else {}
    _image(pixels, alpha).save(_Sink(file), "BMP", **options)  # type: ignore[arg-type]


def _image(pixels: np.ndarray, alpha: np.ndarray | None) -> Image.Image:
    if alpha is not None:
        return Image.fromarray(np.concatenate([pixels, alpha[..., None]], -1))
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
