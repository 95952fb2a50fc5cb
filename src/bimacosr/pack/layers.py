"""The arrays of a packed model as a network uses them, by numpy alone.

What `read_packed` gives is bits and half precision under the file's names; here it is 1-bit layers,
and float32 arrays under the names of the PyTorch state dict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bimacosr.errors import ModelError
from bimacosr.pack.arrays import ArrayReader
from bimacosr.pack.format import PackedModel, unpack_signs

__all__ = ["TWO_TERMS", "OneBitLayer", "PackedLayers", "packed_layers", "take_layer"]

TWO_TERMS = ("horq",)
"""Methods whose weights are a sum of two terms."""

_INDICES = ".skip_connection.indices"


@dataclass(frozen=True, kw_only=True, slots=True)
class OneBitLayer:
    """The weight of a 1-bit layer: the sum of one term, or two with HORQ."""

    shape: tuple[int, ...]
    """Cout x Cin, or Cout x Cin x kh x kw."""

    signs: npt.NDArray[np.uint64]
    """Cout x taps x ceil(Cin / 64) words, see `bimacosr.pack.format.pack_signs`."""

    scale: npt.NDArray[np.float32]
    """Cout magnitudes: the layer computes with ``scale * sign``."""

    zeros: npt.NDArray[np.int64]
    """Places in the flat weight (Cout x Cin x kh x kw) of entries that are 0 instead."""

    second_signs: npt.NDArray[np.uint64] | None = None
    """Of the second term."""

    second_scale: npt.NDArray[np.float32] | None = None
    """Of the second term."""

    def weight(self) -> npt.NDArray[np.float32]:
        """A float weight, of `shape`, that the PyTorch layer makes just these signs and scales of.

        That is ``scale * sign``, but for exact zeros, past which the mean magnitude must still be
        `scale`, and for a second term: the layer takes it from what the first one leaves over.
        """
        signs = self._unpack(self.signs)
        if self.second_signs is not None and self.second_scale is not None:
            same = self._unpack(self.second_signs) == signs
            share = same.mean(1, keepdims=True)
            # mean 0, and mean magnitude of the second scale: neither term moves the other
            step = self.second_scale[:, None] / np.where(same, 2 * share, 2 * share - 2)
            return self._shaped(signs * (self.scale[:, None] + step))
        signs.reshape(-1)[self.zeros] = 0
        filled = np.abs(signs).mean(1, dtype=np.float64, keepdims=True)
        magnitude = self.scale[:, None] / np.where(filled > 0, filled, 1)
        return self._shaped(signs * magnitude.astype(np.float32))

    def _shaped(self, rows: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
        weight: npt.NDArray[np.float32] = rows.astype(np.float32, copy=False).reshape(self.shape)
        return weight

    def _unpack(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.float32]:
        """Signs as Cout x all others, in the order of the weight."""
        signs = unpack_signs(words, self.shape[1])
        return np.ascontiguousarray(signs.reshape(self.shape[0], -1))


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedLayers:
    """All that a packed model holds."""

    one_bit: dict[str, OneBitLayer]
    """The weights of 1-bit layers, by the layer's name."""

    arrays: dict[str, npt.NDArray[np.float32]]
    """Everything else, by its name in the state dict: biases, branches, norms, float layers. Where
    the time step is folded, ``NAME.emb_layers.modulation`` holds what a residual block's
    ``emb_layers`` gives at that step: scales, then shifts."""


def packed_layers(model: PackedModel) -> PackedLayers:
    """The layers of `model`, without PyTorch. Names and shapes are not compared with a network.

    Raises:
        ModelError: an array is damaged, or the file does not list its 1-bit layers.
    """
    if not model.one_bit:
        raise ModelError(
            f"the model {model.name!r} does not list its 1-bit layers; pack it anew with this"
            " version"
        )
    arrays = ArrayReader(model.tensors)
    two_terms = model.binarize.get("method") in TWO_TERMS
    try:
        one_bit = {
            name: take_layer(arrays, name, tuple(shape), two_terms=two_terms)
            for name, shape in model.one_bit.items()
        }
        others = {}
        for name in list(arrays.left):
            if name.endswith(_INDICES):
                c_out, c_in = model.one_bit[name.removesuffix(_INDICES)][:2]
                indices = arrays.indices(name, (c_out, c_in))
                others[f"{name}_float"] = indices.astype(np.float32)
            else:
                others[name] = arrays.half(name, arrays.left[name].shape)
    except (ValueError, KeyError) as error:
        raise ModelError(f"the model {model.name!r} is damaged ({error})") from error
    return PackedLayers(one_bit=one_bit, arrays=others)


def take_layer(
    arrays: ArrayReader, name: str, shape: tuple[int, ...], *, two_terms: bool
) -> OneBitLayer:
    """Take the weight, of that `shape`, of the 1-bit layer `name`.

    Raises:
        ValueError: an array is missing or damaged.
    """
    size = int(np.prod(shape))
    layer = OneBitLayer(
        shape=shape,
        signs=arrays.signs(f"{name}.signs", shape),
        scale=arrays.scale(f"{name}.scale", shape[:1]),
        zeros=arrays.zeros(f"{name}.zeros", size),
    )
    if not two_terms:
        return layer
    if layer.zeros.size:
        raise ValueError(f"{name}.zeros cannot be together with a second term")
    return OneBitLayer(
        shape=shape,
        signs=layer.signs,
        scale=layer.scale,
        zeros=layer.zeros,
        second_signs=arrays.signs(f"{name}.second_signs", shape),
        second_scale=arrays.scale(f"{name}.second_scale", shape[:1]),
    )
