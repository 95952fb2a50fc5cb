"""A picture made to fit its format: what a format cannot hold is turned into what it can."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from bimacosr.io.color import convert_depth, to_rgb
from bimacosr.io.formats import PictureFormat
from bimacosr.io.metadata import Metadata
from bimacosr.io.profiles import to_srgb

__all__ = ["fitted"]

_BAND_ROWS = 64


def fitted(
    form: PictureFormat, pixels: np.ndarray, alpha: np.ndarray | None, metadata: Metadata
) -> tuple[np.ndarray, np.ndarray | None, Metadata]:
    """Turn a picture into what `form` can hold.

    16 bits are rounded to 8; transparency is laid on white; colours of a profile that cannot go
    into the file are moved to sRGB; grey becomes RGB.

    Returns:
        Colours, alpha and metadata; the very arrays given where nothing has to change.
    """
    if not form.depth_16:
        pixels = convert_depth(pixels, np.uint8)
        alpha = None if alpha is None else convert_depth(alpha, np.uint8)
    if alpha is not None and not form.alpha:
        pixels, alpha = _on_white(pixels, alpha), None
    widened = pixels.shape[2] == 1 and not form.grey
    if metadata.icc and (widened or not form.profile):
        pixels = _in_srgb(pixels, metadata.icc)
        metadata = replace(metadata, icc=None)
    if not form.grey:
        pixels = to_rgb(pixels)
    return pixels, alpha, metadata


def _on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    result = np.empty_like(pixels)
    for top in range(0, len(pixels), _BAND_ROWS):
        rows = slice(top, top + _BAND_ROWS)
        cover = alpha[rows, :, None].astype(np.uint32)
        result[rows] = (pixels[rows] * cover + 255 * (255 - cover) + 127) // 255
    return result


def _in_srgb(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    """Give 8-bit colours of a profile in sRGB, grey as grey; as they are if it is broken."""
    grey = pixels.shape[2] == 1
    convert = to_srgb(profile, "L" if grey else "RGB")
    if convert is None:
        return pixels
    result = np.empty_like(pixels)
    for top in range(0, len(pixels), _BAND_ROWS):
        rows = slice(top, top + _BAND_ROWS)
        band = np.ascontiguousarray(pixels[rows, :, 0] if grey else pixels[rows])
        result[rows] = np.asarray(convert(Image.fromarray(band)))[..., : pixels.shape[2]]
    return result
