"""Pixels out of Pillow: in their full depth, band by band, turned upright on the way.

Pillow holds 16 bits in one channel only and reduces the others to 8 as it unpacks them. Such a
file is decoded twice with the unpacker's byte order exchanged, which gives the high bytes and
then the low ones; 16-bit grey and alpha are decoded once, as if they were four bytes.

Shapes: rows of a band are n x width x channels; with 2 or 4 channels the last is alpha.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from bimacosr.io.failures import KindError
from bimacosr.io.profiles import profile_space, srgb_profile, to_srgb
from bimacosr.io.tiff_reader import TiffFile

__all__ = ["Rows", "decoded", "upright"]

Rows = Callable[[int, int], np.ndarray]
"""Gives the rows from the first number up to, not including, the second."""

_BAND_BYTES = 2**22
_NATIVE = "L" if sys.byteorder == "little" else "B"
_SWAPPED = {"L": "B", "B": "L"}
_TURNS = {  # orientation: (rows and columns exchanged, rows from below, columns from the right)
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
_PLAIN_MODES = {"1": "L", "PA": "RGBA", "RGBa": "RGBA", "La": "LA", "YCbCr": "RGB", "RGBX": "RGB"}
_PLAIN_MODES |= {"CMYK": "RGB", "LAB": "RGB"}


def decoded(image: ImageFile, reopen: Callable[[], ImageFile]) -> tuple[Rows, bytes | None]:
    """Load a picture and prepare its rows as grey or RGB, with or without alpha, 8 or 16 bit.

    Args:
        image: The file as Pillow opened it, up to its header.
        reopen: Opens the same file again.

    Returns:
        The rows, and the ICC profile that they are in: after a conversion from CMYK or LAB that
        of sRGB, and None where the file's own is for another space than its pixels.

    Raises:
        KindError: no range of values is known for such pixels, or Pillow would read them wrong.
    """
    if isinstance(image, TiffFile):
        _check_kind(image)
    rawmode = _rawmode(image)
    rows = _wide(image, reopen)
    after = image.info.get("icc_profile")
    if rows is None:
        rows, after = _narrow(image, after)
    if image.mode in ("1", "L", "I;16", "RGB") and "transparency" in image.info:
        step = {"L;2": 85, "L;4": 17}.get(rawmode, 1)  # Pillow leaves the key in few bits
        rows = _keyed(rows, np.atleast_1d(np.int64(image.info["transparency"])) * step)
    space = "RGB" if rows(0, 1).shape[2] >= 3 else "GRAY"
    return rows, after if profile_space(after) == space else None


def upright(
    rows: Rows, size: tuple[int, int], orientation: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Gather all rows in one array, turned as an EXIF orientation (1 to 8) asks.

    Args:
        rows: As `decoded` prepares them.
        size: Width and height before turning.
        orientation: As EXIF counts.

    Returns:
        Colours (height x width x 1 or 3) and alpha (height x width, or None) of the upright
        picture, C-contiguous; at no time are there two of them.
    """
    width, height = size
    exchanged, from_below, from_right = _TURNS[orientation]
    first = rows(0, 1)
    channels = first.shape[2]
    colours = channels - (channels in (2, 4))
    shape = (width, height) if exchanged else (height, width)
    result = np.empty((*shape, colours), first.dtype)
    alpha = np.empty((*shape, 1), first.dtype) if channels > colours else None

    def as_stored(array: np.ndarray) -> np.ndarray:
        view = array[:: -1 if from_below else 1, :: -1 if from_right else 1]
        return view.swapaxes(0, 1) if exchanged else view

    step = max(1, _BAND_BYTES // first.nbytes)
    for top in range(0, height, step):
        band = rows(top, min(top + step, height))
        as_stored(result)[top : top + step] = band[..., :colours]
        if alpha is not None:
            as_stored(alpha)[top : top + step] = band[..., colours:]
    return result, None if alpha is None else alpha[..., 0]


def _check_kind(image: TiffFile) -> None:
    facts = image.facts
    if facts.separate and facts.bits == 16:
        raise KindError(
            "keeps its 16-bit channels in separate planes, which is not read; save it as an "
            "ordinary (interleaved) TIFF or as PNG"
        )


def _crop(image: Image.Image, top: int, bottom: int) -> Image.Image:
    return image.crop((0, top, image.width, bottom))


def _array(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _wide(image: ImageFile, reopen: Callable[[], ImageFile]) -> Rows | None:
    """Prepare the rows of a picture with 16 bits per channel; None if it has 8."""
    rawmode = _rawmode(image)
    if image.mode.startswith("I;16"):
        return _wide_grey(image)
    if isinstance(image, TiffFile) and image.is_wide_grey_alpha:
        native = ("<" if _NATIVE == "L" else ">") if image.use_load_libtiff else image.facts.order
        return _wide_grey_alpha(image, native, image.facts.extra[0])
    if rawmode == "LA;16B":
        _retile(image, "RGBA")
        return _wide_grey_alpha(image, ">", 2)
    kind, _, form = rawmode.partition(";")
    if form not in ("16L", "16B", "16N") or kind not in ("RGB", "RGBX", "RGBA", "RGBa"):
        return None
    order = _NATIVE if form[-1] == "N" else form[-1]
    unpacked = "RGBA" if kind == "RGBa" else kind
    _retile(image, f"{unpacked};16{order}")
    image.load()
    low_image = reopen()
    _retile(low_image, f"{unpacked};16{_SWAPPED[order]}")
    low_image.load()

    def rows(top: int, bottom: int) -> np.ndarray:
        high = _array(_crop(image, top, bottom)).astype(np.uint16)
        high <<= 8
        high |= _array(_crop(low_image, top, bottom))
        return high

    return _unpremultiplied(rows) if kind == "RGBa" else rows


def _rawmode(image: ImageFile) -> str:
    """Tell how Pillow would unpack the pixels of a picture that is not loaded yet."""
    args = image.tile[0].args if image.tile else None
    return args if isinstance(args, str) else str(args[0]) if args else ""


def _retile(image: ImageFile, rawmode: str) -> None:
    """Have Pillow unpack the pixels in another way than it has chosen."""
    image.tile = [
        tile._replace(
            args=rawmode if not isinstance(tile.args, tuple) else (rawmode, *tile.args[1:])
        )
        for tile in image.tile
    ]


def _wide_grey(image: ImageFile) -> Rows:
    image.load()
    facts = image.facts if isinstance(image, TiffFile) else None

    def rows(top: int, bottom: int) -> np.ndarray:
        pixels: np.ndarray = _array(_crop(image, top, bottom)).astype(np.uint16)
        if facts and facts.bits == 12:
            pixels = (pixels << 4) | (pixels >> 8)
        if facts and facts.photometric == 0:
            np.subtract(65535, pixels, out=pixels)
        return pixels

    return rows


def _wide_grey_alpha(image: ImageFile, order: str, kind: int) -> Rows:
    """Read four bytes per pixel as grey and alpha; `kind` as in `TiffFacts.extra`."""
    image.load()

    def rows(top: int, bottom: int) -> np.ndarray:
        pixels = np.ascontiguousarray(_array(_crop(image, top, bottom)))
        return pixels.view(order + "u2").astype(np.uint16)

    if kind == 1:
        return _unpremultiplied(rows)
    return rows if kind == 2 else lambda top, bottom: rows(top, bottom)[..., :1]


def _unpremultiplied(rows: Rows) -> Rows:
    """Divide the colours by alpha, both in 16 bits; where alpha is 0 they stay as they are."""

    def divided(top: int, bottom: int) -> np.ndarray:
        pixels = rows(top, bottom)
        alpha = np.maximum(pixels[..., -1:], 1).astype(np.uint32)
        colours = (pixels[..., :-1].astype(np.uint32) * 65535 + alpha // 2) // alpha
        pixels[..., :-1] = np.where(pixels[..., -1:] == 0, pixels[..., :-1], colours.clip(0, 65535))
        return pixels

    return divided


def _narrow(image: ImageFile, profile: object) -> tuple[Rows, object]:
    """Prepare the rows of a picture with 8 bits per channel, and the profile they are in."""
    mode = image.mode
    if mode in ("I", "F"):
        raise KindError(
            f"has {'floating-point' if mode == 'F' else '32-bit or signed'} pixels, of which it "
            "is not known what is white; save it with 8 or 16 bits per channel"
        )
    image.load()
    target = _PLAIN_MODES.get(mode, mode)
    if mode == "P":
        target = "RGBA" if image.has_transparency_data else "RGB"
    convert = to_srgb(profile, mode) if mode in ("CMYK", "LAB") else None
    if convert:
        profile = srgb_profile()

    def rows(top: int, bottom: int) -> np.ndarray:
        band = _crop(image, top, bottom)
        if convert:
            band = convert(band)
        return _array(band if band.mode == target else band.convert(target))

    return rows, profile


def _keyed(rows: Rows, key: np.ndarray) -> Rows:
    """Make the one colour transparent that a PNG without alpha names (tRNS)."""

    def with_alpha(top: int, bottom: int) -> np.ndarray:
        pixels = rows(top, bottom)
        opaque = (pixels != key).any(-1, keepdims=True)
        full = np.iinfo(pixels.dtype).max
        return np.concatenate([pixels, opaque.astype(pixels.dtype) * full], -1)

    return with_alpha
