"""Rows of a picture as a file wants them: colours and alpha side by side, in its byte order."""

from __future__ import annotations

from typing import Literal

import numpy as np

__all__ = ["interleaved"]


def interleaved(
    pixels: np.ndarray,
    alpha: np.ndarray | None,
    top: int,
    bottom: int,
    order: Literal["<", ">", "="],
) -> np.ndarray:
    """Give the rows from `top` up to `bottom` as rows x (width * channels) samples.

    Args:
        pixels: Height x width x channels, uint8 or uint16.
        alpha: Height x width of the same type, or None.
        top: The first row.
        bottom: The row after the last.
        order: Byte order of 16-bit samples; "=" is this machine's.

    Returns:
        A new array, or a view of `pixels` where nothing has to change.
    """
    band = pixels[top:bottom]
    if alpha is not None:
        band = np.concatenate([band, alpha[top:bottom, :, None]], -1)
    kind = band.dtype.newbyteorder(order) if band.dtype.itemsize > 1 else band.dtype
    return band.astype(kind, copy=False).reshape(len(band), -1)
