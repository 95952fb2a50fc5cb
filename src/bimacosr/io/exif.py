"""EXIF blocks cleaned of what would be untrue of an upright, enlarged picture.

A block is patched in place and not written anew wherever that is possible: the maker notes of
cameras point into it by absolute offsets, and survive only so.
"""

from __future__ import annotations

import struct
from itertools import chain

from bimacosr.io.exif_tags import (
    ExifTags,
    block_of,
    collect_tags,
    read_tags,
    resolution_entries,
    resolution_of,
)
from bimacosr.io.ifd import LONG, SHORT, Entry, Layout, open_layout

__all__ = ["clean_exif", "exif_resolution", "exif_with_resolution", "sized_exif"]

_WIDTH, _LENGTH, _ORIENTATION = 256, 257, 274
_PIXEL_X, _PIXEL_Y = 40962, 40963
_THUMBNAIL, _THUMBNAIL_SIZE = 513, 514


def clean_exif(block: bytes) -> tuple[bytes | None, int | None]:
    """Set the orientation to 1 and take the thumbnail out.

    Args:
        block: The bare block, as a file had it.

    Returns:
        The block (None if it is no EXIF), and the orientation that it stated, 1 to 8 (None if
        it stated none).
    """
    data = bytearray(block)

    def fetch(offset: int, size: int) -> bytes:
        return bytes(data[offset : offset + size])

    try:
        layout, first = open_layout(fetch)
        main, thumbnail = layout.read(fetch, first)
    except ValueError:
        return None, None
    if layout.big:
        return None, None
    orientation = layout.number(main.get(_ORIENTATION))
    if _ORIENTATION in main:
        _patch(data, layout, main[_ORIENTATION], SHORT, 1)
    if thumbnail:
        link = layout.next_slot(fetch, first)
        data[link : link + 4] = bytes(4)
        tags = collect_tags(fetch, layout, main)
        _remove_thumbnail(data, layout, thumbnail, max(link + 4, _last_byte(tags)))
    return bytes(data), orientation if orientation in range(1, 9) else None


def sized_exif(block: bytes, width: int, height: int) -> bytes:
    """Correct the tags that state the picture's size in pixels, where there are any."""
    data = bytearray(block)
    tags = read_tags(block)
    sizes = (
        (tags.main, _WIDTH, width),
        (tags.main, _LENGTH, height),
        (tags.exif, _PIXEL_X, width),
        (tags.exif, _PIXEL_Y, height),
    )
    for table, tag, value in sizes:
        if tag in table:
            _patch(data, tags.layout, table[tag], LONG, value)
    return bytes(data)


def exif_resolution(block: bytes) -> tuple[float, float] | None:
    """Give the pixels per inch that a block states, across and down."""
    tags = read_tags(block)
    return resolution_of(tags.layout, tags.main)


def exif_with_resolution(block: bytes | None, dpi: tuple[float, float]) -> bytes:
    """Make sure that an EXIF block states a resolution, for formats with no other place for it."""
    if block is None:
        tags = ExifTags(Layout("<"), {}, {}, {}, {})
    elif exif_resolution(block):
        return block
    else:
        tags = read_tags(block)
    return block_of(tags, extra=resolution_entries(tags.layout, dpi))


def _patch(data: bytearray, layout: Layout, found: Entry, kind: int, value: int) -> None:
    """Write one whole number over an entry, inside the entry's own 12 bytes."""
    form = "HHIHxx" if kind == SHORT else "HHII"
    struct.pack_into(layout.order + form, data, found.slot, found.tag, kind, 1, value)


def _last_byte(tags: ExifTags) -> int:
    tables = (tags.main, tags.exif, tags.gps, tags.interop)
    ends = [one.end for one in chain.from_iterable(table.values() for table in tables)]
    return max(ends, default=0) + 4  # the link that follows the last entry of a directory


def _remove_thumbnail(data: bytearray, layout: Layout, directory: int, used: int) -> None:
    """Blank the thumbnail's bytes, and cut them off when nothing else lies behind them."""
    start = directory
    try:
        entries, _ = layout.read(lambda at, size: bytes(data[at : at + size]), directory)
    except ValueError:
        entries = {}
    at, size = (layout.number(entries.get(tag)) for tag in (_THUMBNAIL, _THUMBNAIL_SIZE))
    if at and size and at < len(data):
        size = min(size, len(data) - at)
        data[at : at + size] = bytes(size)
        start = min(start, at)
    if used <= start < len(data):
        del data[start:]
