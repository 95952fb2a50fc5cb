"""The denoiser of the paper family: a UNet with Swin blocks that also sees the low-quality picture.

Parameter names are those of the official checkpoints (`UNetModelSwin` of ResShift and SinSR,
`UNetModelSwinQuant` of BiMaCoSR before its layers are replaced).

Shapes: B batch, C channels, H height, W width of the latent (default BCHW).

Source: Yue et al. 2023, ResShift, arXiv:2307.12348; Dhariwal and Nichol 2021,
arXiv:2105.05233, for the UNet.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimacosr.config.networks import UNetSettings, latent_multiple
from bimacosr.errors import OptionError
from bimacosr.networks.blocks import (
    Downsample,
    GroupNorm32,
    ResBlock,
    Upsample,
    timestep_embedding,
)
from bimacosr.networks.swin import BasicLayer

__all__ = ["Stage", "UNetModelSwin", "build_unet"]

MakeResBlock = Callable[[int, int], ResBlock]
MakeSwin = Callable[..., BasicLayer]


class Level(NamedTuple):
    """One resolution of the network."""

    channels: int
    resolution: int  # nominal height and width
    res_blocks: int
    attention: bool


class Stage(nn.ModuleList):
    """Modules in a row; residual blocks among them also get the time embedding."""

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Run map `x` (BCHW) at time embedding `emb` (B, D) through all modules."""
        for module in self:
            x = module(x, emb) if isinstance(module, ResBlock) else module(x)
        return x


class UNetModelSwin(nn.Module):
    """Predict from a noisy latent, the time step and the low-quality picture (see `forward`).

    The arguments are the fields of `bimacosr.config.networks.UNetSettings`, explained there.
    """

    def __init__(
        self,
        *,
        image_size: int,
        in_channels: int,
        out_channels: int,
        model_channels: int,
        channel_mult: tuple[int, ...],
        num_res_blocks: tuple[int, ...],
        attention_resolutions: tuple[int, ...],
        swin_depth: int,
        swin_embed_dim: int,
        num_head_channels: int,
        window_size: int,
        mlp_ratio: float,
        use_scale_shift_norm: bool,
    ) -> None:
        super().__init__()
        self.in_channels, self.model_channels = in_channels, model_channels
        emb = 4 * model_channels
        res = partial(ResBlock, emb_channels=emb, use_scale_shift_norm=use_scale_shift_norm)
        swin = partial(
            BasicLayer,
            embed_dim=swin_embed_dim,
            window=window_size,
            depth=swin_depth,
            num_heads=swin_embed_dim // num_head_channels,
            mlp_ratio=mlp_ratio,
        )
        sizes = [image_size >> i for i in range(len(channel_mult))]
        levels = [
            Level(factor * model_channels, size, blocks, size in attention_resolutions)
            for factor, size, blocks in zip(channel_mult, sizes, num_res_blocks, strict=True)
        ]
        self.latent_multiple = latent_multiple(sizes, attention_resolutions, window_size)
        self.time_embed = nn.Sequential(
            nn.Linear(model_channels, emb), nn.SiLU(), nn.Linear(emb, emb)
        )
        first = Stage([nn.Conv2d(in_channels, model_channels, 3, padding=1)])
        way_down, skips = stages_down(levels, model_channels, res, swin)
        self.input_blocks = nn.ModuleList([first, *way_down])
        self.middle_block = middle_stage(levels[-1], res, swin)
        self.output_blocks = nn.ModuleList(stages_up(levels, skips, res, swin))
        top = levels[0].channels
        self.out = nn.Sequential(
            GroupNorm32(top), nn.SiLU(), nn.Conv2d(top, out_channels, 3, padding=1)
        )

    def forward(self, x: Tensor, t: Tensor, lq: Tensor) -> Tensor:
        """Predict from the latent `x` at time step `t`, given the low-quality picture `lq`.

        Args:
            x: Noisy latent, (B, C, H, W), scaled as the diffusion process says; H and W multiples
                of `latent_multiple`.
            t: Time steps, (B,), integers of the unspaced schedule (0..14 officially).
            lq: Low-quality picture in [-1, 1], (B, 3, H, W). A larger one is unshuffled by 2, a
                smaller one repeated 4 times, which must give the latent's size.

        Returns:
            (B, out_channels, H, W), of the type of `x`: what the network was trained to predict.

        Raises:
            OptionError: sizes or channels do not fit.
        """
        h = self.join(x, lq)
        emb = self.time_embed(timestep_embedding(t, self.model_channels).to(x.dtype))
        skips = []
        for stage in self.input_blocks:
            h = stage(h, emb)
            skips.append(h)
        h = self.middle_block(h, emb)
        for stage in self.output_blocks:
            h = stage(torch.cat([h, skips.pop()], dim=1), emb)
        out: Tensor = self.out(h)
        return out

    def join(self, x: Tensor, lq: Tensor) -> Tensor:
        """Latent and low-quality picture, brought to the latent's size, as one map; checks both."""
        height, width = x.shape[2:]
        if height % self.latent_multiple or width % self.latent_multiple:
            raise OptionError(
                f"the latent is {height}x{width} (height x width); both must be multiples of"
                f" {self.latent_multiple}. Pad the picture first."
            )
        if lq.shape[2] > height:
            lq = F.pixel_unshuffle(lq, 2)
        elif lq.shape[2] < height:
            lq = F.interpolate(lq, scale_factor=4.0, mode="nearest")
        if lq.shape[2:] != x.shape[2:]:
            raise OptionError(
                f"the low-quality picture is {lq.shape[2]}x{lq.shape[3]} after it was brought to"
                f" the latent's size; it must be {height}x{width}"
            )
        if x.shape[1] + lq.shape[1] != self.in_channels:
            raise OptionError(
                f"latent and low-quality picture have {x.shape[1]} + {lq.shape[1]} channels;"
                f" the network takes {self.in_channels}"
            )
        return torch.cat([x, lq], dim=1)


def stages_down(
    levels: list[Level], channels: int, res: MakeResBlock, swin: MakeSwin
) -> tuple[list[Stage], list[int]]:
    """The stages behind the first convolution, which gives `channels`.

    Returns:
        The stages, and the channels of every skip, that of the first convolution included.
    """
    stages, skips = [], [channels]
    for level in levels:
        for i in range(level.res_blocks):
            stage = Stage([res(channels, level.channels)])
            if level.attention and i == 0:
                stage.append(swin(level.channels, resolution=level.resolution))
            channels = level.channels
            stages.append(stage)
            skips.append(channels)
        if level is not levels[-1]:
            stages.append(Stage([Downsample(channels)]))
            skips.append(channels)
    return stages, skips


def middle_stage(bottom: Level, res: MakeResBlock, swin: MakeSwin) -> Stage:
    """The stage at the bottom; it has attention whether or not its level has."""
    channels = bottom.channels
    return Stage(
        [
            res(channels, channels),
            swin(channels, resolution=bottom.resolution),
            res(channels, channels),
        ]
    )


def stages_up(
    levels: list[Level], skips: list[int], res: MakeResBlock, swin: MakeSwin
) -> list[Stage]:
    """The stages behind the middle, each of which takes one skip from the end of `skips`.

    A level has one stage more than on the way down, since the downsampling left a skip too.
    """
    stages = []
    channels = levels[-1].channels
    remaining = list(skips)
    for level in reversed(levels):
        for i in range(level.res_blocks + 1):
            stage = Stage([res(channels + remaining.pop(), level.channels)])
            channels = level.channels
            if level.attention and i == 0:
                stage.append(swin(channels, resolution=level.resolution))
            if level is not levels[0] and i == level.res_blocks:
                stage.append(Upsample(channels))
            stages.append(stage)
    return stages


def build_unet(settings: UNetSettings) -> UNetModelSwin:
    """The network that `settings` describe, with PyTorch's random initial weights."""
    return UNetModelSwin(
        image_size=settings.image_size,
        in_channels=settings.in_channels,
        out_channels=settings.out_channels,
        model_channels=settings.model_channels,
        channel_mult=settings.channel_mult,
        num_res_blocks=settings.num_res_blocks,
        attention_resolutions=settings.attention_resolutions,
        swin_depth=settings.swin_depth,
        swin_embed_dim=settings.swin_embed_dim,
        num_head_channels=settings.num_head_channels,
        window_size=settings.window_size,
        mlp_ratio=settings.mlp_ratio,
        use_scale_shift_norm=settings.use_scale_shift_norm,
    )
