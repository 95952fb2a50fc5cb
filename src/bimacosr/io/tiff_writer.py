"""TIFF files written strip by strip, 8 or 16 bit: deflate with horizontal differences.

Pillow writes no 16-bit RGB. A file that would not fit the 4 GB of classic TIFF becomes BigTIFF.

Source: TIFF 6.0, sections 4 to 8, 14 (predictor), 18 (extra samples); Adobe's technical note 2
of 2002 (compression 8); TIFF technical note of the ICC (tag 34675); XMP specification part 3.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import BinaryIO

import numpy as np

from bimacosr.config.picture import OutputSettings
from bimacosr.io.exif_tags import (
    ExifTags,
    descriptive,
    read_tags,
    resolution_entries,
    write_tags,
)
from bimacosr.io.ifd import LONG, LONG8, SHORT, Entry, Layout, entry
from bimacosr.io.interleave import interleaved
from bimacosr.io.metadata import Metadata
from bimacosr.io.parallel import in_order

__all__ = ["write_tiff"]

_LEVEL = 4
_STRIP_BYTES = 2**19
_CLASSIC_LIMIT = 4_000_000_000
_BYTE, _UNDEFINED = 1, 7
_DEFLATE, _DIFFERENCES, _UNPREMULTIPLIED, _INTERLEAVED = 8, 2, 2, 1
_BLACK_IS_ZERO, _RGB = 1, 2


def write_tiff(
    file: BinaryIO,
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    metadata: Metadata,
    settings: OutputSettings,
) -> None:
    """Write a whole TIFF file.

    Args:
        file: Where to; it must be able to seek: the directory follows the pixels.
        pixels: Height x width x 1 or 3, uint8 or uint16.
        alpha: Height x width of the same type, or None.
        metadata: Goes into the tags; its EXIF block sets the byte order.
        settings: Not needed: this TIFF is lossless.
    """
    tags = _tags_to_keep(metadata, big=pixels.nbytes + _size(alpha) > _CLASSIC_LIMIT)
    layout = tags.layout
    version = (43, 8, 0) if layout.big else (42,)
    header = b"II" if layout.order == "<" else b"MM"
    header += struct.pack(f"{layout.order}{len(version)}H", *version)
    place = file.tell() + len(header)
    file.write(header + bytes(layout.offset.size))
    offsets, lengths, strip_rows = _write_strips(file, pixels, alpha, layout.order)
    if file.tell() % 2:
        file.write(b"\0")
    start = file.tell()
    own = _own_entries(layout, pixels, alpha, offsets, lengths, strip_rows)
    file.write(write_tags(tags, start, extra=own + _metadata_entries(layout, metadata)))
    file.seek(place)
    file.write(layout.offset.pack(start))
    file.seek(0, 2)


def _size(array: np.ndarray | None) -> int:
    return 0 if array is None else array.nbytes


def _tags_to_keep(metadata: Metadata, *, big: bool) -> ExifTags:
    tags = descriptive(read_tags(metadata.exif)) if metadata.exif else None
    if tags is None:
        return ExifTags(Layout("<", big), {}, {}, {}, {})
    return replace(tags, layout=replace(tags.layout, big=big))


def _write_strips(
    file: BinaryIO, pixels: np.ndarray, alpha: np.ndarray | None, order: str
) -> tuple[list[int], list[int], int]:
    """Write the pixels.

    Returns:
        Offset and length of each strip, and the rows in one.
    """
    height = len(pixels)
    row_bytes = (pixels.nbytes + _size(alpha)) // height
    step = min(height, max(1, _STRIP_BYTES // row_bytes))
    offsets, lengths = [], []
    work = partial(_strip, pixels, alpha, step, order)
    with closing(in_order(work, range(0, height, step))) as strips:
        for strip in strips:
            offsets.append(file.tell())
            lengths.append(len(strip))
            file.write(strip)
    return offsets, lengths, step


def _strip(pixels: np.ndarray, alpha: np.ndarray | None, step: int, order: str, top: int) -> bytes:
    """Compress the differences of each sample to the one on its left."""
    channels = pixels.shape[2] + (alpha is not None)
    rows = interleaved(pixels, alpha, top, min(top + step, len(pixels)), "=")
    differences = rows.copy()
    differences[:, channels:] -= rows[:, :-channels]
    if differences.itemsize > 1:
        differences = differences.astype(differences.dtype.newbyteorder(order), copy=False)
    return zlib.compress(differences.data, _LEVEL)


def _own_entries(
    layout: Layout,
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    offsets: list[int],
    lengths: list[int],
    strip_rows: int,
) -> list[Entry]:
    """Give the tags that say how the pixels lie in the file."""
    height, width, colours = pixels.shape
    samples = colours + (alpha is not None)
    wide = LONG8 if layout.big else LONG
    rows = [
        (256, LONG, [width]),
        (257, LONG, [height]),
        (258, SHORT, [8 * pixels.dtype.itemsize] * samples),
        (259, SHORT, [_DEFLATE]),
        (262, SHORT, [_RGB if colours == 3 else _BLACK_IS_ZERO]),
        (273, wide, offsets),
        (277, SHORT, [samples]),
        (278, LONG, [strip_rows]),
        (279, LONG, lengths),
        (284, SHORT, [_INTERLEAVED]),
        (317, SHORT, [_DIFFERENCES]),
    ]
    if alpha is not None:
        rows.append((338, SHORT, [_UNPREMULTIPLIED]))
    return [entry(layout, *row) for row in rows]


def _metadata_entries(layout: Layout, metadata: Metadata) -> list[Entry]:
    entries = resolution_entries(layout, metadata.dpi)
    if metadata.icc:
        entries.append(Entry(34675, _UNDEFINED, len(metadata.icc), metadata.icc))
    if metadata.xmp:
        entries.append(Entry(700, _BYTE, len(metadata.xmp), metadata.xmp))
    return entries
