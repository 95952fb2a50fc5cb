"""A picture made to fit its format: what a format cannot hold is turned into what it can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from bimacosr.io.color import convert_depth, grey_to_rgb
from bimacosr.io.metadata import Metadata
from bimacosr.io.profiles import profile_space, to_srgb

__all__ = ["flattened", "without_profile"]

_BAND_ROWS = 64


def flattened(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Lay 8-bit colours on white, for formats without transparency."""
    result = np.empty_like(pixels)
    for top in range(0, len(pixels), _BAND_ROWS):
        rows = slice(top, top + _BAND_ROWS)
        cover = alpha[rows, :, None].astype(np.uint32)
        result[rows] = (pixels[rows] * cover + 255 * (255 - cover) + 127) // 255
    return result


def without_profile(
    pixels: np.ndarray, metadata: Metadata
) -> tuple[np.ndarray, Metadata]:
    """Move 8-bit colours into sRGB, for formats without a place for their profile."""
    ...
