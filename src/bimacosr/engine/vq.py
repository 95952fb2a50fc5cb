"""The VQ-f4 autoencoder of the paper family in the native engine.

Shapes: B batch, C channels, H height, W width (BCHW); h, w those of the latent; K codes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bimacosr.config.networks import AutoencoderSettings
from bimacosr.config.upscale import Precision
from bimacosr.engine.native import choose_instruction_set, open_native
from bimacosr.errors import BackendError, ModelError, OptionError
from bimacosr.pack.format import Place

__all__ = ["NativeAutoencoder", "NativeQuantized", "StoredArrays"]

Floats = npt.NDArray[np.float32]


class StoredArrays(NamedTuple):
    """Arrays, float32, that stay in their file until they are needed."""

    path: Path
    """The file; another one may take its name meanwhile, but it must not be changed itself."""

    places: Mapping[str, Place]
    """Where each array lies, by name."""


class NativeQuantized(NamedTuple):
    """What `NativeAutoencoder.quantize` gives."""

    z: Floats
    """The nearest codes, shaped like the latent: numerically z + (code - z)."""

    indices: npt.NDArray[np.int32]
    """Their numbers, (B, h, w) in [0, n_embed)."""


class NativeAutoencoder:
    """Pictures to latents and back, through a codebook; the same bits for any number of threads.

    Args:
        settings: Shape of the network.
        state: Its state dict as numpy arrays, float32, or where it lies in a file. Neither is
            copied: each layer takes its weights when it runs, so that those of a file are never in
            memory together.
        isa: Instruction set: amx, avx512, avx2, neon, scalar; or auto for BIMACOSR_ISA, else the
            best that the machine has.
        threads: Number of threads, the caller's included; at least 1.
        precision: bf16 rounds what convolutions and attention multiply to bfloat16, and sums in
            float32, as does everything between.

    Raises:
        ValueError: an array is missing, surplus or of another shape.
        OptionError: its levels have different numbers of residual blocks.
        BackendError: the engine is not installed, or the machine lacks the instruction set, or that
            does not multiply bfloat16.

    Source: Esser et al. 2021, Taming Transformers (VQGAN), arXiv:2012.09841, section 3.1.
    """

    def __init__(
        self,
        settings: AutoencoderSettings,
        state: Mapping[str, npt.NDArray[Any]] | StoredArrays,
        isa: str = "auto",
        threads: int = 1,
        precision: Precision = "fp32",
    ) -> None:
        if settings.level_res_blocks is not None:
            raise OptionError(
                "level_res_blocks is set; autoencoders here have equally many residual blocks a"
                " level"
            )
        native = open_native()
        self.isa = choose_instruction_set(None if isa == "auto" else isa)
        bfloat16 = precision == "bf16"
        if bfloat16 and not native.has_bfloat16(self.isa):
            raise BackendError(
                f"the native engine multiplies bfloat16 with AMX only, and runs on {self.isa} here;"
                " choose the precision fp32, or the backend torch"
            )
        self.in_channels, self.embed_dim = settings.in_channels, settings.embed_dim
        self.scale = 1 << (len(settings.channel_mult) - 1)
        self._memory = native.VqMemory(threads)
        shape = native.vq_settings(
            settings.in_channels,
            settings.out_channels,
            settings.channels,
            list(settings.channel_mult),
            settings.num_res_blocks,
            settings.z_channels,
            settings.embed_dim,
            settings.n_embed,
        )
        if isinstance(state, StoredArrays):
            self.path: Path | None = state.path
            places = {name: (start, list(sides)) for name, (start, sides) in state.places.items()}
            self._network = native.vq_autoencoder_of_file(
                self.isa, bfloat16, shape, os.fsdecode(state.path), places
            )
        else:
            self.path = None
            arrays = {name: np.ascontiguousarray(a, np.float32) for name, a in state.items()}
            self._network = native.vq_autoencoder(self.isa, bfloat16, shape, arrays)

    def encode(self, image_pm1: Floats, memory: Any = None) -> Floats:
        """The latent of pictures, before quantization.

        Args:
            image_pm1: (B, in_channels, H, W) in [-1, 1]; H and W multiples of `scale`.
            memory: A `VqMemory` of the native module, for a caller beside others; None: its own.

        Returns:
            (B, embed_dim, H / scale, W / scale).

        Raises:
            OptionError: sizes or channels do not fit.
            ModelError: the file of its weights cannot be read any more.
        """
        if image_pm1.ndim != 4 or image_pm1.shape[1] != self.in_channels:
            raise OptionError(
                f"the picture is an array of shape {image_pm1.shape}; the autoencoder takes (B,"
                f" {self.in_channels}, H, W)"
            )
        height, width = image_pm1.shape[2:]
        if height % self.scale or width % self.scale:
            raise OptionError(
                f"the picture is {height}x{width} (height x width); the autoencoder needs multiples"
                f" of {self.scale}"
            )
        memory = memory or self._memory
        with self._reading():
            return np.stack([self._network.encode(memory, x) for x in prepared(image_pm1)])

    def quantize(self, z: Floats, memory: Any = None) -> NativeQuantized:
        """Replace each pixel of a latent by its nearest code; among equal ones the first wins.

        Args:
            z: (B, embed_dim, h, w).
            memory: As for `encode`.

        Raises:
            OptionError: the latent has another number of channels.
        """
        self._check_latent(z)
        results = [self._network.quantize(memory or self._memory, x) for x in prepared(z)]
        codes, indices = (np.stack(arrays) for arrays in zip(*results, strict=True))
        return NativeQuantized(codes, indices)

    def decode(self, z: Floats, memory: Any = None, *, quantize: bool = True) -> Floats:
        """The pictures of latents.

        Args:
            z: (B, embed_dim, h, w).
            memory: As for `encode`.
            quantize: Replace each pixel by its nearest code first, as the decoder was trained.

        Returns:
            (B, out_channels, h * scale, w * scale), about [-1, 1], not clamped.

        Raises:
            OptionError: the latent has another number of channels.
            ModelError: as for `encode`.
        """
        self._check_latent(z)
        memory = memory or self._memory
        if quantize:
            z = self.quantize(z, memory).z
        with self._reading():
            return np.stack([self._network.decode(memory, x) for x in prepared(z)])

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Say it in one sentence when the weights cannot be read from their file."""
        try:
            yield
        except RuntimeError as error:
            if self.path is None:
                raise
            raise ModelError(
                f"the autoencoder {self.path} was changed while it was used ({error}); get the"
                " file again"
            ) from error

    def _check_latent(self, z: Floats) -> None:
        if z.ndim != 4 or z.shape[1] != self.embed_dim:
            raise OptionError(
                f"the latent is an array of shape {z.shape}; the autoencoder takes (B,"
                f" {self.embed_dim}, h, w)"
            )


def prepared(maps: Floats) -> Floats:
    """The same values as the engine reads them: float32, one after the other."""
    return np.ascontiguousarray(maps, np.float32)
