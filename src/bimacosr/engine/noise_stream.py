"""The normal numbers of PyTorch's CPU generator, without PyTorch.

Source: PyTorch's `normal_` of 16 numbers and more: uniform numbers of 24 bits from MT19937
(Matsumoto and Nishimura 1998), made normal in groups of 16 by Box-Muller.
"""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from bimacosr.errors import OptionError

__all__ = ["NoiseStream"]

Floats = npt.NDArray[np.float32]

_GROUP = 16


class NoiseStream:
    """Normal numbers one after another, as from PyTorch's global generator seeded once.

    They equal PyTorch's up to the rounding of its logarithm and cosine. Safe from several threads.
    """

    def __init__(self) -> None:
        self._seed: int | None = None
        self._words = np.random.RandomState()
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...], seed: int, *, spare: int = 0) -> Floats:
        """The next numbers; another `seed` than before starts anew.

        Args:
            shape: Of the result; at least 16 numbers.
            seed: 0 to 2^64 - 1; its low 32 bits count.
            spare: How many arrays of this shape are drawn afterwards and thrown away.

        Raises:
            OptionError: it is fewer than 16 numbers, which PyTorch draws in another way.
        """
        count = int(np.prod(shape))
        if count < _GROUP:
            raise OptionError(
                f"a latent of {count} numbers is too small for the official noise; leave out"
                " --tiling official"
            )
        with self._lock:
            if seed != self._seed:
                self._words, self._seed = np.random.RandomState(seed & 0xFFFFFFFF), seed
            drawn = [self._draw(count) for _ in range(1 + spare)]
        return drawn[0].reshape(shape)

    def _draw(self, count: int) -> Floats:
        result = self._uniform(count)
        whole = count - count % _GROUP
        _make_normal(result[:whole])
        if whole < count:  # the last 16 are drawn anew
            result[-_GROUP:] = self._uniform(_GROUP)
            _make_normal(result[-_GROUP:])
        return result

    def _uniform(self, count: int) -> Floats:
        words = self._words.randint(0, 1 << 32, count, np.uint32)
        uniform: Floats = (words & np.uint32(0xFFFFFF)).astype(np.float32) * np.float32(2**-24)
        return uniform


def _make_normal(uniform: Floats) -> None:
    """Groups of 16 uniform numbers become normal, in place: 8 radii, 8 angles."""
    radii, angles = uniform.reshape(-1, 2, _GROUP // 2).swapaxes(0, 1)
    radius = np.sqrt(-2 * np.log(1 - radii))
    angle = np.float32(2 * np.pi) * angles
    radii[...], angles[...] = radius * np.cos(angle), radius * np.sin(angle)
