"""The directories of an EXIF block as a whole, to move them between EXIF blocks and TIFF files.

In this room an EXIF block is the bare TIFF structure ("II*..." or "MM.*..."), without the mark
"Exif" that JPEG sets before it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from bimacosr.io.ifd import (
    LONG,
    LONG8,
    RATIONAL,
    SHORT,
    Entry,
    Fetch,
    Layout,
    build,
    entry,
    open_layout,
)

__all__ = [
    "ExifTags",
    "block_of",
    "collect_tags",
    "descriptive",
    "read_tags",
    "resolution_entries",
    "resolution_of",
    "write_tags",
]

_EXIF, _GPS, _INTEROP = 34665, 34853, 40965
_X_RESOLUTION, _Y_RESOLUTION, _UNIT = 282, 283, 296
_NO_UNIT, _INCH, _CENTIMETRE = 1, 2, 3

_DESCRIPTIVE = frozenset(
    # description, maker, model, software, date, artist, host, rating (2), copyright, XP... (5)
    (270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096))
)


@dataclass(frozen=True, slots=True)
class ExifTags:
    """The directories of an EXIF block, without the pointers between them."""

    layout: Layout
    main: dict[int, Entry]
    exif: dict[int, Entry]
    gps: dict[int, Entry]
    interop: dict[int, Entry]


def collect_tags(fetch: Fetch, layout: Layout, main: dict[int, Entry]) -> ExifTags:
    """Follow the pointers of `main` to the EXIF, GPS and interoperability directories.

    A directory that cannot be read counts as empty: it says nothing of the pixels.
    """

    def below(table: dict[int, Entry], tag: int) -> dict[int, Entry]:
        offset = layout.number(table.get(tag))
        if not offset:
            return {}
        try:
            return layout.read(fetch, offset)[0]
        except ValueError:
            return {}

    exif = below(main, _EXIF)
    gps, interop = below(main, _GPS), below(exif, _INTEROP)
    main_, exif_, gps_, interop_ = (
        {tag: one for tag, one in table.items() if tag not in (_EXIF, _GPS, _INTEROP)}
        for table in (main, exif, gps, interop)
    )
    return ExifTags(layout, main_, exif_, gps_, interop_)


def read_tags(block: bytes) -> ExifTags:
    """Read all directories of an EXIF block but the thumbnail's.

    Raises:
        ValueError: it is not one.
    """

    def fetch(offset: int, size: int) -> bytes:
        return block[offset : offset + size]

    layout, first = open_layout(fetch)
    return collect_tags(fetch, layout, layout.read(fetch, first)[0])


def write_tags(tags: ExifTags, start: int, *, extra: Iterable[Entry] = ()) -> bytes:
    """Write all directories as they are to lie from `start` (even) on, the main one first.

    Args:
        tags: What to write, in the byte order and offset width of its layout.
        start: Offset of the first byte in the block or file.
        extra: Further entries of the main directory; they win over those of `tags`.
    """
    layout = tags.layout
    pointer = LONG8 if layout.big else LONG
    main = {**tags.main, **{one.tag: one for one in extra}}
    exif = dict(tags.exif)
    homes = [(_EXIF, main, exif)] if tags.exif or tags.interop else []
    homes += [(_GPS, main, tags.gps)] if tags.gps else []
    homes += [(_INTEROP, exif, tags.interop)] if tags.interop else []
    for tag, home, _ in homes:
        home[tag] = entry(layout, tag, pointer, [0])
    place = start + len(build(layout, main.values(), start))
    places = {}
    for tag, _, table in homes:
        places[tag] = place
        place += len(build(layout, table.values(), place))
    for tag, home, _ in homes:
        home[tag] = entry(layout, tag, pointer, [places[tag]])
    parts = [build(layout, main.values(), start)]
    parts += [build(layout, table.values(), places[tag]) for tag, _, table in homes]
    return b"".join(parts)


def block_of(tags: ExifTags, *, extra: Iterable[Entry] = ()) -> bytes:
    """Write `tags`, and `extra` in the main directory, as an EXIF block of its own."""
    order = tags.layout.order
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return head + write_tags(replace(tags, layout=Layout(order)), 8, extra=extra)


def descriptive(tags: ExifTags) -> ExifTags | None:
    """Keep of the main directory what tells of the picture, not of how its file is laid out.

    Returns:
        What is left; None when that is nothing at all.
    """
    main = {tag: one for tag, one in tags.main.items() if tag in _DESCRIPTIVE}
    return replace(tags, main=main) if main or tags.exif or tags.gps else None


def resolution_of(layout: Layout, main: dict[int, Entry]) -> tuple[float, float] | None:
    """Give the pixels per inch that a main directory states, across and down."""
    unit = layout.number(main.get(_UNIT)) or _INCH
    across, down = (layout.ratio(main.get(tag)) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    if not across or not down or unit not in (_INCH, _CENTIMETRE):
        return None
    factor = 2.54 if unit == _CENTIMETRE else 1.0
    return across * factor, down * factor


def resolution_entries(layout: Layout, dpi: tuple[float, float] | None) -> list[Entry]:
    """Give the three entries that state `dpi`; for None, that there is no resolution."""
    across, down = (
        Fraction(min(value, 4e6)).limit_denominator(1000) for value in dpi or (1.0, 1.0)
    )
    return [
        entry(layout, _X_RESOLUTION, RATIONAL, [across.numerator, across.denominator]),
        entry(layout, _Y_RESOLUTION, RATIONAL, [down.numerator, down.denominator]),
        entry(layout, _UNIT, SHORT, [_INCH if dpi else _NO_UNIT]),
    ]
