"""The space that a stage works in: from pairs of pictures to latents, and back to a picture.

One object for both families: the edge family's codec moves pixels into channels, the paper family's
is VQ-f4. The codec is never trained.

Shapes: B batch, H and W of the low-quality picture, s the scale; lq B,3,H,W, hq B,3,sH,sW.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from bimacosr.diffusion.process import Denoise, Process, enlarge

__all__ = ["Codec", "LatentSpace", "Latents"]


class Codec(Protocol):
    """Between pictures in [-1, 1] and latents."""

    def encode(self, picture: Tensor, /) -> Tensor:
        """Picture to latent."""

    def decode(self, latent: Tensor, /) -> Tensor:
        """Latent to picture, differentiable."""


@dataclass(frozen=True)
class Latents:
    """A batch as the chain sees it."""

    lq: Tensor
    """The low-quality pictures in [-1, 1]: the network's condition."""

    z_y: Tensor
    """Latents of the enlarged low-quality pictures."""

    z_0: Tensor
    """Latents of the true pictures."""

    hq: Tensor
    """The true pictures in [-1, 1]."""


class LatentSpace:
    """The codec and the chain that teacher and students share.

    Args:
        codec: The autoencoder.
        process: The chain.
        scale: Enlargement.
        autocast: Run networks in bfloat16.
    """

    def __init__(self, codec: Codec, process: Process, scale: int, *, autocast: bool) -> None:
        self.codec, self.process, self.scale, self.autocast = codec, process, scale, autocast

    @torch.no_grad()
    def encode(self, lq: Tensor, hq: Tensor) -> Latents:
        """The latents of pairs in [0, 1]."""
        lq, hq = lq * 2 - 1, hq * 2 - 1
        bicubic = enlarge(lq, self.scale)
        return Latents(lq=lq, z_y=self.codec.encode(bicubic), z_0=self.codec.encode(hq), hq=hq)

    def picture(self, z_0: Tensor) -> Tensor:
        """The picture of a latent, in [0, 1] but not clipped."""
        return self.codec.decode(z_0) * 0.5 + 0.5

    def condition(self, network: nn.Module, lq: Tensor) -> Denoise:
        """`network` with its condition bound to it, its result in float32."""

        def denoise(z_scaled: Tensor, steps: Tensor) -> Tensor:
            with torch.autocast(lq.device.type, torch.bfloat16, enabled=self.autocast):
                output: Tensor = network(z_scaled, steps, lq)
            return output.to(z_scaled.dtype)

        return denoise
