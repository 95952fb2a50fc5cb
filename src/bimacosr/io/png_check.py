"""Checksums of a PNG's pixel data, which Pillow does not compare: a flipped bit is no picture."""

from __future__ import annotations

import zlib
from typing import BinaryIO

__all__ = ["check_png_data"]

_SIGNATURE_BYTES = 8
_BLOCK = 2**20


def check_png_data(file: BinaryIO) -> None:
    """Compare the checksums of all chunks of pixel data (IDAT).

    Raises:
        ValueError: one differs.
    """
    file.seek(_SIGNATURE_BYTES)
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        left = int.from_bytes(head[:4], "big")
        if head[4:] != b"IDAT":
            file.seek(left + 4, 1)
            continue
        checksum = zlib.crc32(head[4:])
        while left > 0 and (data := file.read(min(left, _BLOCK))):
            checksum = zlib.crc32(data, checksum)
            left -= len(data)
        if checksum != int.from_bytes(file.read(4), "big"):
            raise ValueError("a checksum of the pixel data is wrong")
