"""The VQ-f4 autoencoder of the paper family in the native engine, in float32.

Shapes: B batch, C channels, H height, W width (BCHW); h, w those of the latent; K codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bimacosr.config.networks import AutoencoderSettings
from bimacosr.engine.native import choose_instruction_set, open_native
from bimacosr.errors import OptionError

__all__ = ["NativeAutoencoder", "NativeQuantized"]

Floats = npt.NDArray[np.float32]


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
        state: Its state dict as numpy arrays, float32.
        isa: Instruction set: amx, avx512, avx2, neon, scalar; or auto for BIMACOSR_ISA, else the
            best that the machine has.
        threads: Number of threads, the caller's included; at least 1.

    Raises:
        ValueError: an array is missing, surplus or of another shape.
        OptionError: its levels have different numbers of residual blocks.
        BackendError: the engine is not installed, or the machine lacks the instruction set.

    Source: Esser et al. 2021, Taming Transformers (VQGAN), arXiv:2012.09841, section 3.1.
    """

    def __init__(
        self,
        settings: AutoencoderSettings,
        state: Mapping[str, npt.NDArray[Any]],
        isa: str = "auto",
        threads: int = 1,
    ) -> None:
        if settings.level_res_blocks is not None:
            raise OptionError(
                "level_res_blocks is set; autoencoders here have equally many residual blocks a"
                " level"
            )
        native = open_native()
        self.isa = choose_instruction_set(None if isa == "auto" else isa)
        self.in_channels, self.embed_dim = settings.in_channels, settings.embed_dim
        self.scale = 1 << (len(settings.channel_mult) - 1)
        self._memory = native.VqMemory(threads)
        self._network = native.vq_autoencoder(
            self.isa,
            settings.in_channels,
            settings.out_channels,
            settings.channels,
            list(settings.channel_mult),
            settings.num_res_blocks,
            settings.z_channels,
            settings.embed_dim,
            settings.n_embed,
            {name: np.ascontiguousarray(array, np.float32) for name, array in state.items()},
        )

    def encode(self, image_pm1: Floats) -> Floats:
        """The latent of pictures, before quantization.

        Args:
            image_pm1: (B, in_channels, H, W) in [-1, 1]; H and W multiples of `scale`.

        Returns:
            (B, embed_dim, H / scale, W / scale).

        Raises:
            OptionError: sizes or channels do not fit.
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
        return np.stack([self._network.encode(self._memory, x) for x in prepared(image_pm1)])

    def quantize(self, z: Floats) -> NativeQuantized:
        """Replace each pixel of a latent by its nearest code; among equal ones the first wins.

        Args:
            z: (B, embed_dim, h, w).

        Raises:
            OptionError: the latent has another number of channels.
        """
        self._check_latent(z)
        results = [self._network.quantize(self._memory, x) for x in prepared(z)]
        codes, indices = (np.stack(arrays) for arrays in zip(*results, strict=True))
        return NativeQuantized(codes, indices)

    def decode(self, z: Floats, *, quantize: bool = True) -> Floats:
        """The pictures of latents.

        Args:
            z: (B, embed_dim, h, w).
            quantize: Replace each pixel by its nearest code first, as the decoder was trained.

        Returns:
            (B, out_channels, h * scale, w * scale), about [-1, 1], not clamped.

        Raises:
            OptionError: the latent has another number of channels.
        """
        self._check_latent(z)
        if quantize:
            z = self.quantize(z).z
        return np.stack([self._network.decode(self._memory, x) for x in prepared(z)])

    def _check_latent(self, z: Floats) -> None:
        if z.ndim != 4 or z.shape[1] != self.embed_dim:
            raise OptionError(
                f"the latent is an array of shape {z.shape}; the autoencoder takes (B,"
                f" {self.embed_dim}, h, w)"
            )


def prepared(maps: Floats) -> Floats:
    """The same values as the engine reads them: float32, one after the other."""
    return np.ascontiguousarray(maps, np.float32)
