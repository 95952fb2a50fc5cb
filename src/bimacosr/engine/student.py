"""The arrays of a 1-bit student, layer by layer, as the native engine takes them.

Keys are those of the student's state dict (`bimacosr.networks.unet`), or of a packed file, where
`signs` and `scale` stand for `weight` and `indices` for `indices_float`.

Shapes: Cin, Cout channels of a layer; T its taps, 1 or 9; r rank of the low-rank branch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bimacosr.pack.format import Array, pack_signs, unpack_signs

__all__ = ["Student"]

Floats = npt.NDArray[np.float32]

_MARKS = (".signs", ".channel_threshold", ".relu")
_NO_EFFECT = ("move0.bias", "channel_threshold", "attn_mask", "relative_position_index")


class Student:
    """The arrays of a state dict that nobody has taken yet.

    All methods raise ValueError, which names the array, if it is missing or of another shape.
    """

    def __init__(self, state: Mapping[str, Array]) -> None:
        self.left = {key: value for key, value in state.items() if not key.endswith(_NO_EFFECT)}
        marked = (
            key.partition(".relu.pr_")[0] + ".relu" if ".relu.pr_" in key else key for key in state
        )
        self.binary = {key.rpartition(".")[0] for key in marked if key.endswith(_MARKS)}
        """Layers that are 1-bit: a convolution has an RPReLU, a linear layer thresholds."""

    def take(self, name: str, *shape: int) -> Floats:
        """The array `name` as float32; a shape whose other sides are 1 fits too."""
        if name not in self.left:
            raise ValueError(f"{name} is missing")
        array = np.asarray(self.left.pop(name))
        if array.size != np.prod(shape) or _long(array.shape) != _long(shape):
            raise ValueError(f"{name} is {array.shape}, not {shape}")
        return np.ascontiguousarray(array.reshape(shape), np.float32)

    def layer(self, name: str, c_out: int, c_in: int, taps: int = 1) -> dict[str, Any]:
        """Arguments of the native `binary_layer` for a convolution, or for a linear layer."""
        if name not in self.binary:
            raise ValueError(
                f"{name} is missing or not 1-bit; the native engine has only the first and the "
                "last convolution in float"
            )
        signs, scale = self._weight(name, c_out, c_in, taps)
        arguments: dict[str, Any] = {"signs": signs, "inputs": c_in, "scale": scale}
        if f"{name}.bias" in self.left:
            arguments["bias"] = self.take(f"{name}.bias", c_out)
        convolution = f"{name}.relu.pr_prelu.weight" in self.left
        if convolution:
            parts = ("pr_bias0.bias", "pr_prelu.weight", "pr_bias1.bias")
            arguments["rprelu"] = np.stack([self.take(f"{name}.relu.{p}", c_out) for p in parts])
        branch = f"{name}.skip_connection"
        if f"{branch}.values" in self.left:
            arguments["sparse_indices"] = self._indices(branch, c_out, c_in)
            count = arguments["sparse_indices"].shape[1]
            arguments["sparse_values"] = self.take(f"{branch}.values", count)
        if f"{name}.lora.A.weight" in self.left:
            # a convolution computes B(A(x)), a linear layer A(B(x))
            inner, outer = ("A", "B") if convolution else ("B", "A")
            rank = self._rank(f"{name}.lora.{inner}.weight")
            arguments["low_rank_in"] = self.take(f"{name}.lora.{inner}.weight", rank, c_in)
            arguments["low_rank_out"] = self.take(f"{name}.lora.{outer}.weight", c_out, rank)
        return arguments

    def float_convolution(self, name: str, c_out: int, c_in: int) -> tuple[Floats, Floats]:
        """Weight (Cout x Cin x 3 x 3) and bias (Cout) of a convolution that is not 1-bit."""
        if name in self.binary:
            raise ValueError(f"{name} is 1-bit; the native engine has it in float only")
        weight = self.take(f"{name}.weight", c_out, c_in, 3, 3)
        return weight, self.take(f"{name}.bias", c_out)

    def linear(self, name: str, c_out: int, x: Floats) -> Floats:
        """The 1-bit linear layer `name`, applied to `x` (Cin) by numpy: (Cout)."""
        arguments = self.layer(name, c_out, x.size)
        weight = unpack_signs(arguments["signs"], x.size)[..., 0] * arguments["scale"][:, None]
        y = weight @ (np.sign(x) * np.abs(x).mean())
        if "bias" in arguments:
            y = y + arguments["bias"]
        if "low_rank_in" in arguments:
            y = y + arguments["low_rank_out"] @ (arguments["low_rank_in"] @ x)
        if "sparse_values" in arguments:
            rows, columns = arguments["sparse_indices"]
            np.add.at(y, rows, arguments["sparse_values"] * x[columns])
        result: Floats = y.astype(np.float32)
        return result

    def finish(self) -> None:
        """Check that nothing is left."""
        if self.left:
            first = sorted(self.left)[:3]
            raise ValueError(f"the network has no {', '.join(first)} ({len(self.left)} such keys)")

    def _weight(
        self, name: str, c_out: int, c_in: int, taps: int
    ) -> tuple[npt.NDArray[np.uint64], Floats]:
        """Signs as words (Cout x T x words) and scale (Cout)."""
        if f"{name}.signs" in self.left:
            signs = np.asarray(self.left.pop(f"{name}.signs"))
            words = (c_out, taps, -(-c_in // 64))
            if signs.shape != words or signs.dtype != np.uint64:
                raise ValueError(f"{name}.signs is {signs.dtype} {signs.shape}, not uint64 {words}")
            return signs, self.take(f"{name}.scale", c_out)
        side = math.isqrt(taps)
        weight = self.take(f"{name}.weight", c_out, c_in, side, side)
        return pack_signs(weight), np.abs(weight).mean((1, 2, 3))

    def _rank(self, key: str) -> int:
        """Rows of the inner matrix of a low-rank branch."""
        shape: tuple[int, ...] = np.shape(self.left[key]) if key in self.left else ()
        if not shape:
            raise ValueError(f"{key} is missing or not a matrix")
        return shape[0]

    def _indices(self, branch: str, c_out: int, c_in: int) -> npt.NDArray[np.int32]:
        """Rows and columns (2 x n) of the sparse branch."""
        key = f"{branch}.indices"
        array = self.left.pop(key) if key in self.left else self.left.pop(f"{key}_float", None)
        if array is None or np.ndim(array) != 2 or np.shape(array)[0] != 2:
            raise ValueError(f"{key} is missing or not 2 x n")
        rows, columns = indices = np.rint(np.asarray(array, np.float32)).astype(np.int32)
        if indices.size and (indices.min() < 0 or rows.max() >= c_out or columns.max() >= c_in):
            raise ValueError(f"{key} point outside of the layer's {(c_out, c_in)}")
        return np.ascontiguousarray(indices)


def _long(shape: tuple[int, ...]) -> list[int]:
    return [side for side in shape if side != 1]
