"""The size of a WebP file, read before the decoder takes memory for it."""

from __future__ import annotations

__all__ = ["webp_size"]


def webp_size(head: bytes) -> tuple[int, int] | None:
    """Read the width and height from the first 30 bytes; None if they are not a WebP file's.

    Source: WebP container specification and RFC 6386 (VP8), section 9.1.
    """
    if len(head) < 30:
        return None
    kind, body = head[12:16], head[20:30]
    if kind == b"VP8X":
        return (
            int.from_bytes(body[4:7], "little") + 1,
            int.from_bytes(body[7:10], "little") + 1,
        )
    if kind == b"VP8L" and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        return (
            int.from_bytes(body[6:8], "little") & 0x3FFF,
            int.from_bytes(body[8:10], "little") & 0x3FFF,
        )
    return None
