"""Picture files and colour profiles built byte by byte, as the tests of this room need them."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from bimacosr.config.picture import OutputSettings, PictureLimits
from bimacosr.io import Metadata, Picture, read_picture, write_picture
from bimacosr.io.profiles import srgb_profile

ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
ADAM7.append((1, 0, 2, 1))


def read(path: Path, **limits: int) -> Picture:
    return read_picture(path, PictureLimits(**limits))


def write(path: Path, picture: Picture, **settings: object) -> Path:
    write_picture(path, picture, settings=OutputSettings(**settings))  # type: ignore[arg-type]
    return path


def noise(height: int, width: int, channels: int = 3, dtype: type = np.uint8, seed: int = 0):
    """Random pixels with all values of their type."""
    full = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, full + 1, (height, width, channels), dtype)


def smooth(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    """Colours without sharp edges, which lossy formats keep nearly as they are."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    planes = [np.sin(3 * x + k) * np.cos(2 * y - k) * 0.4 + 0.5 for k in range(channels)]
    return (np.stack(planes, -1) * np.iinfo(dtype).max).astype(dtype)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    samples: np.ndarray,
    colour_type: int,
    depth: int = 8,
    *,
    before: bytes = b"",
    after: bytes = b"",
    interlaced: bool = False,
) -> bytes:
    """A PNG of unfiltered rows; samples below 8 bits are packed by the caller's `depth`."""
    height, width = samples.shape[:2]

    def rows(part: np.ndarray) -> bytes:
        if depth == 16:
            flat = part.astype(">u2").reshape(len(part), -1).view(np.uint8)
        elif depth == 8:
            flat = part.astype(np.uint8).reshape(len(part), -1)
        else:
            bits = np.unpackbits(part.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
            flat = np.packbits(bits.reshape(len(part), -1), axis=1)
        return np.pad(flat, ((0, 0), (1, 0))).tobytes()

    parts = [samples[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [samples]
    data = zlib.compress(b"".join(rows(part) for part in parts if part.size))
    head = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, int(interlaced))
    body = chunk(b"IHDR", head) + before + chunk(b"IDAT", data) + after + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(
    samples: np.ndarray,
    photometric: int,
    *,
    order: str = "<",
    compression: int = 1,
    extra: tuple[int, ...] = (),
    bits: int | None = None,
    tags: tuple[tuple[int, int, bytes], ...] = (),
    planar: int = 1,
    sample_format: int = 1,
) -> bytes:
    """A TIFF of one strip; `tags` are further (tag, kind, payload of up to 4 bytes)."""
    height, width, channels = samples.shape
    stored = samples.transpose(2, 0, 1) if planar == 2 else samples
    data = stored.astype(samples.dtype.newbyteorder(order)).tobytes()
    size = len(data) // channels
    data = zlib.compress(data) if compression == 8 else data
    offsets = [8 + size * k for k in range(channels)] if planar == 2 else [8]
    lengths = [size] * channels if planar == 2 else [len(data)]
    bits = bits or 8 * samples.dtype.itemsize
    rows: list[tuple[int, int, list[int]]] = [
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [bits] * channels),
        (259, 3, [compression]),
        (262, 3, [photometric]),
        (273, 4, offsets),
        (277, 3, [channels]),
        (278, 4, [height]),
        (279, 4, lengths),
        (284, 3, [planar]),
        (339, 3, [sample_format] * channels),
    ]
    rows += [(338, 3, list(extra))] if extra else []
    data += b"\0" * (len(data) % 2)
    start = 8 + len(data)
    packed = [
        (
            tag,
            kind,
            len(values),
            struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values),
        )
        for tag, kind, values in rows
    ] + [(tag, kind, len(load) // {1: 1, 3: 2, 4: 4, 7: 1}[kind], load) for tag, kind, load in tags]
    packed.sort()
    place = start + 2 + 12 * len(packed) + 4
    table, values = struct.pack(order + "H", len(packed)), b""
    for tag, kind, count, load in packed:
        if len(load) > 4:
            value = struct.pack(order + "I", place + len(values))
            values += load + b"\0" * (len(load) % 2)
        else:
            value = load.ljust(4, b"\0")
        table += struct.pack(order + "HHI", tag, kind, count) + value
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(order + "HI", 42, start) + data + table + bytes(4) + values


def exif(order: str = "<", *, orientation: int | None = 6, thumbnail: bool = True) -> bytes:
    """An EXIF block as a camera writes it, with a maker note and a thumbnail at the end."""
    image = Image.Exif()
    image.endian = order
    image[271] = "Maker"
    image[272] = "Model X"
    image[282], image[283], image[296] = 300.0, 300.0, 2
    if orientation:
        image[274] = orientation
    image[256], image[257] = 40, 30
    below = image.get_ifd(0x8769)
    below[40962], below[40963] = 40, 30
    below[33434] = 0.005
    below[37500] = b"maker's own notes " * 3
    image.get_ifd(0x8825)[1] = "N"
    block = image.tobytes()[6:]
    if not thumbnail:
        return block
    first = struct.unpack(order + "I", block[4:8])[0]
    count = struct.unpack(order + "H", block[first : first + 2])[0]
    link = first + 2 + 12 * count
    start = len(block)
    picture = b"\xff\xd8THUMBNAIL\xff\xd9"
    directory = struct.pack(order + "H", 2)
    directory += struct.pack(order + "HHII", 513, 4, 1, start + 30)
    directory += struct.pack(order + "HHII", 514, 4, 1, len(picture)) + bytes(4)
    return block[:link] + struct.pack(order + "I", start) + block[link + 4 :] + directory + picture


def exif_value(block: bytes, tag: int, below: int | None = None) -> object:
    """Read a tag of an EXIF block by Pillow, as other programs would."""
    read_back = Image.Exif()
    read_back.load(b"Exif\0\0" + block)
    return (read_back.get_ifd(below) if below else read_back).get(tag)


XMP = (
    b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description '
    b'tiff:Orientation="6" dc:title="A title"/></x:xmpmeta><?xpacket end="w"?>'
)


def swapped_profile() -> bytes:
    """sRGB with red and green exchanged: only a reader of the profile sees the right colours."""
    profile = srgb_profile()
    table, rest = profile[128:1024], profile[1024:]
    table = table.replace(b"rXYZ", b"tmpZ").replace(b"gXYZ", b"rXYZ").replace(b"tmpZ", b"gXYZ")
    return profile[:128] + table + rest


def _profile(space: bytes, pcs: bytes, kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": _text(), b"cprt": b"text" + bytes(4) + b"none\0", **tags}
    tags[b"wtpt"] = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    place = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", place + len(body), len(data))
        body += data
    head = bytes(4) + b"\0\0\0\0" + struct.pack(">I", 0x02400000) + kind + space + pcs
    head = (head + bytes(12) + b"acsp").ljust(68, b"\0")
    head += struct.pack(">3i", 63190, 65536, 54061)
    whole = head.ljust(128, b"\0") + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


def _text() -> bytes:
    return b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(8 + 3 + 67)


def grey_profile(gamma: float = 1.0) -> bytes:
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    return _profile(b"GRAY", b"XYZ ", b"mntr", {b"kTRC": curve})


def cmyk_profile() -> bytes:
    """A press whose cyan ink is red: lightness by the sum of inks, a* by the share of cyan."""
    identity = bytes(range(256))
    table = bytearray()
    for corner in range(16):
        cyan, ink = corner >> 3 & 1, bin(corner).count("1")
        table += bytes([255 - 63 * ink, 128 + 60 * cyan, 128])
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    lut += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut += identity * 4 + bytes(table) + identity * 3
    return _profile(b"CMYK", b"Lab ", b"prtr", {b"A2B0": lut})


def full_metadata() -> Metadata:
    clean = exif(orientation=1, thumbnail=False)
    return Metadata(
        icc=swapped_profile(), exif=clean, xmp=XMP.replace(b'"6"', b'"1"'), dpi=(300.0, 200.0)
    )


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
