"""Pictures already in memory: Pillow images and numpy arrays, in and back to their kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bimacosr.errors import ReadError
from bimacosr.io.color import from_float01
from bimacosr.io.picture import Picture

__all__ = ["from_array", "from_pillow"]

Array = npt.NDArray[Any]

_PILLOW_MODES = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "La": "LA",
    "P": "RGB",
    "PA": "RGBA",
    "RGB": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "CMYK": "RGB",
    "YCbCr": "RGB",
    "LAB": "RGB",
    "HSV": "RGB",
    "I;16": "I;16",
}


def from_pillow(image: Image.Image) -> tuple[Picture, Callable[[Picture], Image.Image]]:
    """An image as a picture, and what makes an image of the same kind from a result.

    Palettes come back as RGB, with alpha where the palette had it; bits and other colour spaces
    as grey and RGB.

    Raises:
        ReadError: the mode is none that a photograph has, or its file is damaged.
    """
    try:
        image.load()
    except OSError as error:
        raise ReadError(f"the image cannot be decoded ({error}); get its file again") from error
    mode = _PILLOW_MODES.get(image.mode)
    if mode is None:
        raise ReadError(
            f"the image has mode {image.mode}; convert it first, for instance to RGB or L"
        )
    if image.mode in ("P", "L", "RGB") and "transparency" in image.info:
        mode = "LA" if image.mode == "L" else "RGBA"
    array = np.asarray(image if image.mode == mode else image.convert(mode))
    array = array[..., None] if array.ndim == 2 else array
    picture = _split(array, has_alpha=mode in ("LA", "RGBA"))
    info = {key: value for key, value in image.info.items() if key in ("icc_profile", "dpi")}

    def back(result: Picture) -> Image.Image:
        joined = _join(result)
        made = Image.fromarray(joined[..., 0] if joined.shape[2] == 1 else joined)
        made.info.update(info)
        return made

    return picture, back


def from_array(array: Array) -> tuple[Picture, Callable[[Picture], Array]]:
    """An array as a picture, and what gives a result the same type and number of axes.

    Args:
        array: H x W, or H x W x 1, 2, 3 or 4 (grey, grey and alpha, RGB, RGBA); uint8 or uint16
            of full range, or floats in [0, 1], which are worked on at 16 bits.

    Raises:
        ReadError: another shape or type, or floats outside [0, 1].
    """
    shape, kind = array.shape, array.dtype
    if array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (1, 2, 3, 4)) or 0 in shape:
        raise ReadError(
            f"the array is {' x '.join(map(str, shape))}; it must be H x W or H x W x 1, 2, 3 or 4"
        )
    floating = kind in (np.float16, np.float32, np.float64)
    if not floating and kind not in (np.uint8, np.uint16):
        raise ReadError(f"the array is of {kind}; it must be uint8, uint16 or floats in [0, 1]")
    if floating:
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            raise ReadError(
                f"the array has values from {low:.3g} to {high:.3g}; floats must be in [0, 1]"
            )
    solid = array[..., None] if array.ndim == 2 else array
    whole = from_float01(solid.astype(np.float32), np.dtype(np.uint16)) if floating else solid
    picture = _split(whole, has_alpha=solid.shape[2] in (2, 4))

    def back(result: Picture) -> Array:
        joined = _join(result)
        if floating:
            joined = (joined.astype(np.float32) / 65535).astype(kind)
        return joined[..., 0] if array.ndim == 2 else joined

    return picture, back


def _split(array: Array, *, has_alpha: bool) -> Picture:
    if not has_alpha:
        return Picture(np.ascontiguousarray(array))
    return Picture(np.ascontiguousarray(array[..., :-1]), np.ascontiguousarray(array[..., -1]))


def _join(picture: Picture) -> Array:
    if picture.alpha is None:
        return picture.pixels
    return np.concatenate([picture.pixels, picture.alpha[..., None]], axis=2)
