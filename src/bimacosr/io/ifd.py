"""Tag directories: the tables that TIFF files and EXIF blocks are made of, read and built.

Values are kept as the bytes that lie in the file, in its own byte order, so a tag of any kind
passes through unchanged. Nothing here trusts a file: every offset and size is checked, and an
entry that points outside is left out.

Source: TIFF 6.0, section 2; BigTIFF (the same with 8-byte offsets); EXIF 2.32, section 4.6.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

__all__ = [
    "LONG",
    "LONG8",
    "RATIONAL",
    "SHORT",
    "Entry",
    "Fetch",
    "Layout",
    "build",
    "entry",
    "open_layout",
]

Fetch = Callable[[int, int], bytes]
"""Gives `size` bytes at `offset`, or fewer where the data end."""

SHORT, LONG, RATIONAL, LONG8 = 3, 4, 5, 16
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
_NUMBERS = {1: "B", SHORT: "H", LONG: "I", 13: "I", LONG8: "Q", 18: "Q"}
_MAX_PAYLOAD = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag: its number, the kind and count of its values, and their bytes."""

    tag: int
    kind: int
    count: int
    payload: bytes
    slot: int = -1
    """Where the entry's own 12 (BigTIFF: 20) bytes begin in the block it was read from."""
    end: int = -1
    """Where the last byte that belongs to it ends in that block."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a block writes its numbers: byte order ("<" or ">") and the width of offsets."""

    order: str
    big: bool = False

    @property
    def offset(self) -> struct.Struct:
        """Form of an offset."""
        return struct.Struct(self.order + ("Q" if self.big else "I"))

    @property
    def row(self) -> struct.Struct:
        """Form of an entry: tag, kind, count, and the value or the offset of it."""
        return struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))

    @property
    def total(self) -> struct.Struct:
        """Form of the number of entries."""
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    def number(self, found: Entry | None) -> int | None:
        """Give the first value of an entry of whole numbers; None for anything else."""
        values = self.numbers(found)
        return values[0] if values else None

    def numbers(self, found: Entry | None) -> tuple[int, ...]:
        """Give the values of an entry of whole numbers; nothing for anything else."""
        if found is None or found.kind not in _NUMBERS:
            return ()
        return struct.unpack(f"{self.order}{found.count}{_NUMBERS[found.kind]}", found.payload)

    def ratio(self, found: Entry | None) -> float | None:
        """Give the first value of an entry of fractions; None without one or with 0 below."""
        if found is None or found.kind != RATIONAL or not found.count:
            return None
        above, below = struct.unpack(self.order + "II", found.payload[:8])
        return above / below if below else None

    def read(self, fetch: Fetch, offset: int) -> tuple[dict[int, Entry], int]:
        """Read the directory at `offset`.

        Returns:
            Its entries by tag (the first of equal ones), and the offset of the next directory
            (0: there is none).

        Raises:
            ValueError: there is no whole directory at this place.
        """
        head = fetch(offset, self.total.size)
        if len(head) < self.total.size:
            raise ValueError("a tag directory is truncated")
        (count,) = self.total.unpack(head)
        start, size = offset + self.total.size, self.row.size
        table = fetch(start, min(count, 65535) * size)
        if count > 65535 or len(table) < count * size:
            raise ValueError("a tag directory is truncated")
        entries: dict[int, Entry] = {}
        for index in range(count):
            found = self._entry_at(fetch, table[index * size :][:size], start + index * size)
            if found is not None:
                entries.setdefault(found.tag, found)
        link = fetch(start + count * size, self.offset.size)
        following = self.offset.unpack(link)[0] if len(link) == self.offset.size else 0
        return entries, following

    def next_slot(self, fetch: Fetch, offset: int) -> int:
        """Give the place of the link from the directory at `offset` to the one after it."""
        (count,) = self.total.unpack(fetch(offset, self.total.size))
        place: int = offset + self.total.size + count * self.row.size
        return place

    def _entry_at(self, fetch: Fetch, raw: bytes, slot: int) -> Entry | None:
        tag, kind, count, value = self.row.unpack(raw)
        size = _SIZES.get(kind, 0) * count
        end = slot + len(raw)
        if not size or size > _MAX_PAYLOAD:
            return None
        if size > len(value):
            (place,) = self.offset.unpack(value)
            value, end = fetch(place, size), place + size
            if len(value) < size:
                return None
        return Entry(tag, kind, count, value[:size], slot, end)


def open_layout(fetch: Fetch) -> tuple[Layout, int]:
    """Read the header of a TIFF file or an EXIF block.

    Returns:
        Its layout and the offset of its first directory.

    Raises:
        ValueError: it does not begin as one.
    """
    head = fetch(0, 16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        raise ValueError("no tag directory begins here")
    (version,) = struct.unpack(order + "H", head[2:4])
    if version == 43 and len(head) == 16:
        return Layout(order, big=True), struct.unpack(order + "Q", head[8:])[0]
    if version != 42:
        raise ValueError("no tag directory begins here")
    return Layout(order), struct.unpack(order + "I", head[4:8])[0]


def entry(layout: Layout, tag: int, kind: int, values: Iterable[int]) -> Entry:
    """Make an entry of whole numbers, or of fractions given as numerator, denominator, ..."""
    numbers = tuple(values)
    form = "I" if kind == RATIONAL else _NUMBERS[kind]
    payload = struct.pack(f"{layout.order}{len(numbers)}{form}", *numbers)
    return Entry(tag, kind, len(numbers) // (2 if kind == RATIONAL else 1), payload)


def build(layout: Layout, entries: Iterable[Entry], start: int) -> bytes:
    """Build a directory that is to lie at `start` (even), its long values right behind it.

    The length is even and depends on the entries alone, so a pointer to what follows can be
    filled in by building twice.
    """
    rows = sorted(entries, key=lambda one: one.tag)
    width = layout.offset.size
    place = start + layout.total.size + len(rows) * layout.row.size + width
    table, values = [layout.total.pack(len(rows))], []
    for one in rows:
        value = one.payload
        if len(value) > width:
            values.append(value + bytes(len(value) % 2))
            value = layout.offset.pack(place)
            place += len(values[-1])
        table.append(layout.row.pack(one.tag, one.kind, one.count, value))
    table.append(bytes(width))
    return b"".join(table + values)
