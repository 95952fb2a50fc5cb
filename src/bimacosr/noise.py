"""Noise that is a pure function of the seed and the place: tiles, their order and threads do not
change it.

Each pixel and each group of four channels asks the counter-based generator Philox 4x32-10 for
four words and turns them into four normal numbers by Box-Muller, in float64 rounded once to
float32, so that an implementation in another language gives the same bits.

Source: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3 (Random123).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["normal", "philox"]

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)

Words = npt.NDArray[np.uint64]


def philox(counter: tuple[Words, Words, Words, Words], seed: int) -> tuple[Words, ...]:
    """Philox 4x32-10 of each counter under the key `seed` (its low 64 bits).

    Args:
        counter: Four arrays of one shape, uint64 holding 32-bit words.
        seed: The key.

    Returns:
        Four arrays of that shape, uint64 holding 32-bit words.
    """
    c0, c1, c2, c3 = counter
    key = [seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF]
    for _ in range(_ROUNDS):
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (second >> _SHIFT) ^ c1 ^ np.uint64(key[0]),
            second & _LOW,
            (first >> _SHIFT) ^ c3 ^ np.uint64(key[1]),
            first & _LOW,
        )
        key = [(k + step) & 0xFFFFFFFF for k, step in zip(key, _KEY_STEPS, strict=True)]
    return c0, c1, c2, c3


def normal(
    seed: int, rows: range, columns: range, channels: int, *, stream: int = 0
) -> npt.NDArray[np.float32]:
    """Standard normal noise of a window of an endless plane.

    Args:
        seed: The picture's seed; its low 64 bits count.
        rows: Global rows of the window, step 1, at least 0.
        columns: Global columns of the window, step 1, at least 0.
        channels: Number of channels.
        stream: Which of the planes of this seed: the sampling step.

    Returns:
        channels x rows x columns, float32.
    """
    groups = -(-channels // 4)
    shape = (groups, len(rows), len(columns))
    counter = (
        np.broadcast_to(np.array(columns, np.uint64), shape),
        np.broadcast_to(np.array(rows, np.uint64)[:, None], shape),
        np.broadcast_to(np.arange(groups, dtype=np.uint64)[:, None, None], shape),
        np.full(shape, stream, np.uint64),
    )
    w0, w1, w2, w3 = philox(counter, seed)
    result = np.empty((groups, 4, *shape[1:]), np.float32)
    for at, (u, v) in enumerate(((w0, w1), (w2, w3))):
        radius = np.sqrt(-2.0 * np.log((u.astype(np.float64) + 1.0) * 2.0**-32))
        angle = v.astype(np.float64) * (2.0 * np.pi * 2.0**-32)
        result[:, 2 * at] = radius * np.cos(angle)
        result[:, 2 * at + 1] = radius * np.sin(angle)
    return result.reshape(4 * groups, *shape[1:])[:channels]
