"""Take the arrays of a packed model one by one, each checked: name, shape, type and range."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bimacosr.pack.format import Array

__all__ = ["ArrayReader"]

_WORD = 64


class ArrayReader:
    """The arrays of a packed model that nobody has taken yet.

    All methods raise ValueError, which names the array, if it is missing, of another kind, or
    holds what it must not.
    """

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        self.left = dict(tensors)

    def take(self, name: str, shape: tuple[int, ...], kind: str) -> Array:
        """The array `name`, which must be of that shape and numpy type."""
        if name not in self.left:
            raise ValueError(f"{name} is missing")
        array = self.left.pop(name)
        if array.shape != shape or array.dtype != kind:
            raise ValueError(f"{name} is {array.dtype} {array.shape}, not {kind} {shape}")
        return array

    def half(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """A float16 array of finite numbers, as float32."""
        array = self.take(name, shape, "float16").astype(np.float32)
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinity")
        return array

    def scale(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """A float16 array of magnitudes, 0 and above, as float32."""
        array = self.half(name, shape)
        if (array < 0).any():
            raise ValueError(f"{name} holds a number below 0")
        return array

    def signs(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint64]:
        """Sign bits of a weight of that `shape` (Cout x Cin, or with kh x kw behind)."""
        c_out, c_in, *kernel = shape
        words = self.take(name, (c_out, math.prod(kernel), -(-c_in // _WORD)), "uint64")
        if c_in % _WORD and (words[..., -1] >> np.uint64(c_in % _WORD)).any():
            raise ValueError(f"{name} has bits beyond channel {c_in}")
        return words

    def zeros(self, name: str, size: int) -> npt.NDArray[np.int64]:
        """Places, ascending, of exact zeros in a flat weight of `size` entries; often there are
        none, and no such array."""
        if name not in self.left:
            return np.zeros(0, np.int64)
        array = self.take(name, self._length_of(name), "uint32").astype(np.int64)
        if array.size and (array[-1] >= size or (np.diff(array) <= 0).any()):
            raise ValueError(f"{name} are not ascending places below {size}")
        return array

    def indices(self, name: str, shape: tuple[int, int]) -> npt.NDArray[np.int32]:
        """Rows and columns (2 x n) of the sparse branch of a layer of that `shape`, as int32."""
        array = self.take(name, (2, *self._length_of(name)), "uint16").astype(np.int32)
        rows, columns = array
        if array.size and (rows.max() >= shape[0] or columns.max() >= shape[1]):
            raise ValueError(f"{name} point outside of the layer's {shape}")
        return array

    def finish(self) -> None:
        """Check that nothing is left."""
        if self.left:
            raise ValueError(f"the network has no {', '.join(sorted(self.left))}")

    def _length_of(self, name: str) -> tuple[int, ...]:
        """Length of the last axis, which the file alone knows; empty if there is no axis."""
        if name not in self.left:
            raise ValueError(f"{name} is missing")
        return self.left[name].shape[-1:]
