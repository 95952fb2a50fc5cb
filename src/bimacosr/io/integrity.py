"""Damage that Pillow overlooks: wrong checksums in a PNG, a JPEG whose end was never written."""

from __future__ import annotations

import zlib
from typing import BinaryIO

__all__ = ["check_jpeg_end", "check_png_data"]

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


def check_jpeg_end(file: BinaryIO) -> None:
    """Look for the end mark in what follows the header, where `file` stands.

    A download that stopped in a file of the right length leaves zeros, which decode as grey.

    Raises:
        ValueError: there is none.
    """
    last = b""
    while block := file.read(_BLOCK):
        if b"\xff\xd9" in last + block:
            return
        last = block[-1:]
    raise ValueError("the data are truncated: they have no end mark")
