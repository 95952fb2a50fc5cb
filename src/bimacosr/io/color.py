"""Colours as numbers: depth, grey and RGB, what lies under transparent pixels, and plain resizing.

Shapes: height x width, or height x width x channels. Integers are uint8 or uint16 over their
full range; floats are [0, 1] where a name says `01`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from bimacosr.errors import ResultError

__all__ = [
    "bleed_edges",
    "convert_depth",
    "from_float01",
    "resize",
    "to_float01",
    "to_grey",
    "to_rgb",
]

_BT601 = np.array([0.299, 0.587, 0.114], np.float32)
_BAND_BYTES = 2**22
_RING_PART = 2**18
_FILTERS = {
    "bilinear": (Image.Resampling.BILINEAR, 1.0),
    "bicubic": (Image.Resampling.BICUBIC, 2.0),
    "lanczos": (Image.Resampling.LANCZOS, 3.0),
}
_AROUND = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]


def to_float01(pixels: np.ndarray) -> np.ndarray:
    """Turn uint8 or uint16 into float32 in [0, 1]; floats pass as float32."""
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32, copy=False)
    full = np.float32(np.iinfo(pixels.dtype).max)
    result: np.ndarray = np.divide(pixels, full, dtype=np.float32)
    return result


def from_float01(values: np.ndarray, dtype: npt.DTypeLike) -> np.ndarray:
    """Turn floats into uint8 or uint16: clipped to [0, 1], halves rounded to even.

    Raises:
        ResultError: some are not numbers (NaN).
    """
    scaled: np.ndarray = np.clip(values, 0.0, 1.0)
    scaled *= np.iinfo(np.dtype(dtype)).max
    if np.isnan(np.min(scaled, initial=0.0)):
        raise ResultError("the result holds values that are not numbers (NaN); try another backend")
    np.rint(scaled, out=scaled)
    return scaled.astype(dtype)


def convert_depth(pixels: np.ndarray, dtype: npt.DTypeLike) -> np.ndarray:
    """Turn uint8 into uint16 (exactly) or uint16 into uint8 (rounded); the same type passes."""
    if pixels.dtype == dtype:
        return pixels
    if pixels.dtype == np.uint8:
        wide: np.ndarray = pixels.astype(np.uint16)
        wide *= 257
        return wide
    result = np.empty(pixels.shape, np.uint8)
    for rows in _bands(pixels):
        result[rows] = (pixels[rows].astype(np.uint32) + 128) // 257
    return result


def to_rgb(pixels: np.ndarray) -> np.ndarray:
    """Give H x W x 1 as H x W x 3 of equal channels; RGB passes."""
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)


def to_grey(rgb: np.ndarray) -> np.ndarray:
    """Give H x W x 3 as H x W x 1 by the luma of BT.601, in the same type; grey passes."""
    if rgb.shape[2] == 1:
        return rgb
    result = np.empty((*rgb.shape[:2], 1), rgb.dtype)
    for rows in _bands(rgb):
        result[rows] = _as(rgb[rows].astype(np.float32) @ _BT601[:, None], rgb.dtype)
    return result


def bleed_edges(rgb: np.ndarray, alpha: np.ndarray | None, reach: int = 32) -> np.ndarray:
    """Give fully transparent pixels the colours of the visible ones nearby.

    What lies under alpha 0 is arbitrary, often black, and would show as a fringe when a network
    or a filter looks across the edge. Ring by ring, each pixel takes the mean of its neighbours
    that have a colour; what is farther than `reach` takes the mean of the last ring.

    Args:
        rgb: H x W x channels, of any type.
        alpha: H x W; only 0 counts as transparent. None: nothing is.
        reach: Number of rings, in pixels, 1 or more: at least how far the enlargement looks.

    Returns:
        A copy; `rgb` itself where there is nothing to do.
    """
    if alpha is None:
        return rgb
    height, width = alpha.shape
    known = np.zeros((height + 2, width + 2), bool)
    known[1:-1, 1:-1] = alpha != 0
    if known[1:-1, 1:-1].all() or not known.any():
        return rgb
    result: np.ndarray = rgb.copy()
    pending = np.zeros_like(known)
    pending[1:-1, 1:-1] = alpha == 0
    ring = _touching(known, pending)
    for _ in range(reach):
        if not len(ring):
            break
        _fill(result, known, ring)
        last = ring
        known.flat[ring] = True
        pending.flat[ring] = False
        ring = _next_ring(pending, ring)
    if len(ring):
        y, x = np.divmod(last, width + 2)
        mean = result[y - 1, x - 1].mean(axis=0, dtype=np.float64)
        result[pending[1:-1, 1:-1]] = _as(mean, result.dtype)
    return result


def resize(array: np.ndarray, size: tuple[int, int], filter: str = "lanczos") -> np.ndarray:
    """Enlarge or reduce by a classic filter, in floating point, channel by channel, band by band.

    Args:
        array: H x W or H x W x channels; uint8, uint16 or float.
        size: Width and height of the result, in pixels.
        filter: "bilinear", "bicubic" or "lanczos".

    Returns:
        The same type: integers rounded (halves to even) and clipped, floats as they come.
    """
    method, reach = _FILTERS[filter]
    width, height = size
    result = np.empty((height, width, *array.shape[2:]), array.dtype)
    ratio = array.shape[0] / height
    margin = math.ceil(reach * max(ratio, 1.0)) + 1
    step = max(1, _BAND_BYTES // (4 * max(width, array.shape[1]) * math.ceil(max(ratio, 1.0))))
    for top in range(0, height, step):
        bottom = min(top + step, height)
        first = max(0, math.floor(top * ratio) - margin)
        source = array[first : math.ceil(bottom * ratio) + margin]
        box = (0, top * ratio - first, array.shape[1], bottom * ratio - first)
        for channel in np.ndindex(array.shape[2:]):
            chosen = (..., *channel)
            plane = Image.fromarray(source[chosen].astype(np.float32))
            band = plane.resize((width, bottom - top), method, box)
            result[top:bottom][chosen] = _as(np.asarray(band), array.dtype)
    return result


def _as(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Turn floats into `dtype`, rounded and clipped if that is an integer one."""
    if dtype.kind != "u":
        return values.astype(dtype, copy=False)
    rounded: np.ndarray = np.rint(values).clip(0, np.iinfo(dtype).max)
    return rounded.astype(dtype)


def _bands(array: np.ndarray) -> Iterator[slice]:
    step = max(1, _BAND_BYTES // max(1, array[:1].nbytes * 4))
    return (slice(top, top + step) for top in range(0, len(array), step))


def _touching(known: np.ndarray, pending: np.ndarray) -> np.ndarray:
    """Find the pending pixels with a known neighbour.

    Both maps have a margin of one; places are flat indices in them.
    """
    near = np.zeros_like(known)
    inner = near[1:-1, 1:-1]
    height, width = inner.shape
    for dy, dx in _AROUND:
        inner |= known[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
    near &= pending
    return np.flatnonzero(near)


def _next_ring(pending: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """Find the pending neighbours of the pixels just filled, each once."""
    flat = pending.reshape(-1)
    places = (ring + (dy * pending.shape[1] + dx) for dy, dx in _AROUND)
    return np.unique(np.concatenate([place[flat[place]] for place in places]))


def _fill(pixels: np.ndarray, known: np.ndarray, ring: np.ndarray) -> None:
    """Give the pixels of a ring the mean of their known neighbours, a part at a time."""
    width, channels = pixels.shape[1:]
    flat_pixels, flat_known = pixels.reshape(-1, channels), known.reshape(-1)
    for start in range(0, len(ring), _RING_PART):
        part = ring[start : start + _RING_PART]
        y, x = np.divmod(part, width + 2)
        places = (y - 1) * width + x - 1
        total = np.zeros((len(part), channels), np.float32)
        weight = np.zeros((len(part), 1), np.float32)
        for dy, dx in _AROUND:
            seen = flat_known[part + dy * (width + 2) + dx, None]
            # beyond an edge this takes some other pixel, which is not known and so not seen
            colours = flat_pixels.take(places + dy * width + dx, axis=0, mode="clip")
            total += colours * seen
            weight += seen
        flat_pixels[places] = _as(total / weight, pixels.dtype)
