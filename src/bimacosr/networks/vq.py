"""The first stage of the paper family: the VQ-f4 autoencoder between pictures and latents.

Parameter names are those of the official checkpoint (`autoencoder_vq_f4.pth`). Three verbs:
`encode` gives the latent before quantization, `quantize` the nearest codes, `decode` the picture.

Shapes: B batch, C channels, H height, W width (default BCHW); N pixels of all latents, K codes.

Source: Esser et al. 2021, Taming Transformers (VQGAN), arXiv:2012.09841, section 3.1.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimacosr.config.networks import AutoencoderSettings
from bimacosr.errors import OptionError
from bimacosr.networks.blocks import GroupNorm32, Upsample

__all__ = ["Codebook", "Quantized", "VQAutoencoder", "build_autoencoder"]

EPS = 1e-6
"""Epsilon of every group norm here (the UNet's is 1e-5)."""

PIXELS_AT_ONCE = 8192
"""Latent pixels compared to all codes at a time: 256 MiB of float32 distances at 8192 codes."""


class ResnetBlock(nn.Module):
    """Two 3x3 convolutions behind group norm and SiLU, with a residual."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm32(in_channels, EPS)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = GroupNorm32(out_channels, EPS)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.nin_shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, H, W) to (B, Cout, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        out: Tensor = self.nin_shortcut(x) + h
        return out


class AttnBlock(nn.Module):
    """Single-head attention over all pixels, with a residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = GroupNorm32(channels, EPS)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape; memory grows with H * W, not with its square."""
        h = self.norm(x)
        q, k, v = (
            conv(h).flatten(2).transpose(1, 2)[:, None].contiguous()  # (B, 1, H * W, C)
            for conv in (self.q, self.k, self.v)
        )
        mixed = F.scaled_dot_product_attention(q, k, v)  # scale C^-0.5
        out: Tensor = x + self.proj_out(mixed[:, 0].transpose(1, 2).reshape(x.shape))
        return out


class HalfDownsample(nn.Module):
    """Halve height and width: one zero row and column at the far ends, then a 3x3 of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H/2, W/2)."""
        y: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return y


def level(widths: list[int], **resample: nn.Module) -> nn.Sequential:
    """Residual blocks from each width to the next, then `resample`, if any, under its name."""
    blocks = nn.Sequential(*(ResnetBlock(cin, cout) for cin, cout in pairwise(widths)))
    return nn.Sequential(OrderedDict(block=blocks, **resample))


def middle(channels: int) -> nn.Sequential:
    """What lies between the two ways: block, attention, block."""
    return nn.Sequential(
        OrderedDict(
            block_1=ResnetBlock(channels, channels),
            attn_1=AttnBlock(channels),
            block_2=ResnetBlock(channels, channels),
        )
    )


class Encoder(nn.Module):
    """From the picture down to `z_channels`; `widths` are the channels of the levels."""

    def __init__(
        self, in_channels: int, widths: list[int], num_res_blocks: int, z_channels: int
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.down = nn.Sequential()
        channels = widths[0]
        for i, width in enumerate(widths):
            last = i == len(widths) - 1
            resample = {} if last else {"downsample": HalfDownsample(width)}
            self.down.append(level([channels] + num_res_blocks * [width], **resample))
            channels = width
        self.mid = middle(channels)
        self.norm_out = GroupNorm32(channels, EPS)
        self.conv_out = nn.Conv2d(channels, z_channels, 3, padding=1)

    def forward(self, image_pm1: Tensor) -> Tensor:
        """(B, Cin, H, W) in [-1, 1] to (B, z_channels, H / scale, W / scale)."""
        h = self.mid(self.down(self.conv_in(image_pm1)))
        z: Tensor = self.conv_out(F.silu(self.norm_out(h)))
        return z


class Decoder(nn.Module):
    """From `z_channels` up to the picture; `widths` are the channels of the levels, from the top.

    The levels `up` are numbered from the top, too, and run from the last to the first.
    """

    def __init__(
        self, out_channels: int, widths: list[int], num_res_blocks: int, z_channels: int
    ) -> None:
        super().__init__()
        bottom = widths[-1]
        self.conv_in = nn.Conv2d(z_channels, bottom, 3, padding=1)
        self.mid = middle(bottom)
        self.up = nn.ModuleList()
        for i, (width, below) in enumerate(zip(widths, [*widths[1:], bottom], strict=True)):
            resample = {"upsample": Upsample(width)} if i else {}
            self.up.append(level([below] + (num_res_blocks + 1) * [width], **resample))
        self.norm_out = GroupNorm32(widths[0], EPS)
        self.conv_out = nn.Conv2d(widths[0], out_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """(B, z_channels, h, w) to (B, Cout, h * scale, w * scale), about [-1, 1], not clamped."""
        h = self.mid(self.conv_in(z))
        for up in reversed(self.up):
            h = up(h)
        image: Tensor = self.conv_out(F.silu(self.norm_out(h)))
        return image


class Quantized(NamedTuple):
    """What `VQAutoencoder.quantize` gives."""

    z: Tensor
    """The nearest codes, shaped like the latent; the gradient goes straight through to it."""

    indices: Tensor
    """Their numbers, (B, h, w) int64 in [0, n_embed)."""


class Codebook(nn.Module):
    """The codes, as an embedding of K rows."""

    def __init__(self, n_embed: int, embed_dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_embed, embed_dim)
        nn.init.uniform_(self.embedding.weight, -1 / n_embed, 1 / n_embed)

    def forward(self, z: Tensor) -> Quantized:
        """Replace each pixel of `z` (B, embed_dim, h, w) by its nearest code.

        The squared distance is |z|^2 + |e|^2 - 2 z e; among equal ones the first code wins.
        """
        pixels_NC = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
        indices = torch.cat([self.nearest(part) for part in torch.split(pixels_NC, PIXELS_AT_ONCE)])
        indices = indices.reshape(z.shape[0], *z.shape[2:])
        codes = self.embedding(indices).permute(0, 3, 1, 2)
        return Quantized(z + (codes - z).detach(), indices)

    @torch.no_grad()
    def nearest(self, pixels_NC: Tensor) -> Tensor:
        """Numbers of the nearest codes, (N,) int64."""
        codes_KC = self.embedding.weight
        distances_NK = (
            pixels_NC.square().sum(dim=1, keepdim=True)
            + codes_KC.square().sum(dim=1)
            - 2 * pixels_NC @ codes_KC.T
        )
        return distances_NK.argmin(dim=1)


class VQAutoencoder(nn.Module):
    """Pictures to latents and back, through a codebook.

    Args:
        in_channels: Channels of the picture.
        out_channels: Channels of the decoded picture.
        channels: Channels of the first level, a multiple of 32.
        channel_mult: Channels of each level over `channels`.
        num_res_blocks: Residual blocks of a level in the encoder.
        z_channels: Channels between encoder and `quant_conv`.
        embed_dim: Channels of the latent.
        n_embed: Number of codes.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        channels: int,
        channel_mult: tuple[int, ...],
        num_res_blocks: int,
        z_channels: int,
        embed_dim: int,
        n_embed: int,
    ) -> None:
        super().__init__()
        widths = [factor * channels for factor in channel_mult]
        self.in_channels, self.embed_dim = in_channels, embed_dim
        self.scale = 1 << (len(widths) - 1)
        self.encoder = Encoder(in_channels, widths, num_res_blocks, z_channels)
        self.decoder = Decoder(out_channels, widths, num_res_blocks, z_channels)
        self.quantize = Codebook(n_embed, embed_dim)
        self.quant_conv = nn.Conv2d(z_channels, embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(embed_dim, z_channels, 1)

    def encode(self, image_pm1: Tensor) -> Tensor:
        """The latent of pictures, before quantization.

        Args:
            image_pm1: (B, in_channels, H, W) in [-1, 1]; H and W multiples of `scale`.

        Returns:
            (B, embed_dim, H / scale, W / scale).

        Raises:
            OptionError: sizes or channels do not fit.
        """
        channels, height, width = image_pm1.shape[1:]
        if channels != self.in_channels:
            raise OptionError(
                f"the picture has {channels} channels; the autoencoder takes {self.in_channels}"
            )
        if height % self.scale or width % self.scale:
            raise OptionError(
                f"the picture is {height}x{width} (height x width); the autoencoder needs multiples"
                f" of {self.scale}"
            )
        z: Tensor = self.quant_conv(self.encoder(image_pm1))
        return z

    def decode(self, z: Tensor, *, quantize: bool = True) -> Tensor:
        """The pictures of latents.

        Args:
            z: (B, embed_dim, h, w).
            quantize: Replace each pixel by its nearest code first, as the decoder was trained; the
                gradient goes straight through.

        Returns:
            (B, out_channels, h * scale, w * scale), about [-1, 1], not clamped.

        Raises:
            OptionError: the latent has another number of channels.
        """
        if z.shape[1] != self.embed_dim:
            raise OptionError(
                f"the latent has {z.shape[1]} channels; the autoencoder takes {self.embed_dim}"
            )
        if quantize:
            z = self.quantize(z).z
        image: Tensor = self.decoder(self.post_quant_conv(z))
        return image


def build_autoencoder(settings: AutoencoderSettings) -> VQAutoencoder:
    """The autoencoder that `settings` describe, with random initial weights.

    Raises:
        OptionError: its levels have different numbers of residual blocks.
    """
    if settings.level_res_blocks is not None:
        raise OptionError(
            "level_res_blocks is set; autoencoders here have equally many residual blocks a level"
        )
    return VQAutoencoder(
        in_channels=settings.in_channels,
        out_channels=settings.out_channels,
        channels=settings.channels,
        channel_mult=settings.channel_mult,
        num_res_blocks=settings.num_res_blocks,
        z_channels=settings.z_channels,
        embed_dim=settings.embed_dim,
        n_embed=settings.n_embed,
    )
