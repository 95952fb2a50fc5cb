"""Bicubic enlargement as PyTorch does it, by numpy."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["enlarge"]

Plane = npt.NDArray[np.float32]

A = -0.75
"""The free parameter of the cubic kernel, PyTorch's."""


def enlarge(lq: Plane, scale: int) -> Plane:
    """The low-quality picture at full size, as the autoencoder gets it.

    Args:
        lq: H x W x C, any range.
        scale: Factor, at least 1.

    Returns:
        H * scale x W * scale x C: bicubic with a = -0.75, without antialiasing and
        `align_corners`, not clamped. Up to rounding it is `bimacosr.diffusion.process.enlarge`.

    Source: Keys 1981, Cubic convolution interpolation for digital image processing.
    """
    wide = _along_rows(lq.swapaxes(0, 1), scale).swapaxes(0, 1)
    return np.ascontiguousarray(_along_rows(wide, scale))


def _along_rows(x: Plane, scale: int) -> Plane:
    """`x` with `scale` times as many rows; edges are repeated."""
    rows = len(x)
    edged = np.concatenate([x[:1].repeat(2, 0), x, x[-1:].repeat(2, 0)])
    result = np.empty((rows, scale, *x.shape[1:]), np.float32)
    for phase in range(scale):
        place = (phase + 0.5) / scale - 0.5
        first = math.floor(place) - 1
        weights = _taps(place - math.floor(place))
        result[:, phase] = sum(
            weight * edged[2 + first + tap : 2 + first + tap + rows]
            for tap, weight in enumerate(weights)
        )
    return result.reshape(rows * scale, *x.shape[1:])


def _taps(t: float) -> list[np.float32]:
    """Weights of the four pixels around a place `t` behind the second, 0 <= t < 1."""
    near = [(A + 2) * x**3 - (A + 3) * x**2 + 1 for x in (t, 1 - t)]
    far = [A * (x**3 - 5 * x**2 + 8 * x - 4) for x in (1 + t, 2 - t)]
    return [np.float32(weight) for weight in (far[0], *near, far[1])]
