"""Settings of the paper family's networks: the Swin-UNet and the VQ-f4 autoencoder.

The names of the fields are those of the official configurations, so that a checkpoint's YAML reads
like the settings it becomes. Sizes are in latent pixels unless said otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bimacosr.errors import OptionError

__all__ = ["AutoencoderSettings", "UNetSettings", "latent_multiple", "realsrx4_unet", "vq_f4"]

NORM_GROUPS = 32
"""Groups of every group norm of these networks; channels must be a multiple of it."""


def check_positive(owner: str, **fields: int) -> None:
    """Raise OptionError for the first of `fields` that is below 1."""
    for name, value in fields.items():
        if value < 1:
            raise OptionError(f"{owner}.{name} is {value}; it must be at least 1")


def check_groups(owner: str, **fields: int) -> None:
    """Raise OptionError for the first of `fields` that is no multiple of the norm's 32 groups."""
    for name, value in fields.items():
        if value < 1 or value % NORM_GROUPS:
            raise OptionError(
                f"{owner}.{name} is {value}; it must be a multiple of {NORM_GROUPS}"
                " (the groups of the group norm)"
            )


def latent_multiple(sizes: list[int], attention: tuple[int, ...], window: int) -> int:
    """What height and width of a latent must be multiples of.

    Windows are not padded, so each level with attention needs whole windows, and the bottom level
    always has attention.

    Args:
        sizes: Nominal size of each level, from the top, each half of the one before.
        attention: Nominal sizes of the levels with attention.
        window: Side of a window; a level of a smaller nominal size has one window of that size.
    """
    bottom = len(sizes) - 1
    factors = [1 << bottom]
    for level, size in enumerate(sizes):
        if size in attention or level == bottom:
            factors.append(min(window, size) << level)
    return math.lcm(*factors)


@dataclass(frozen=True, kw_only=True, slots=True)
class UNetSettings:
    """Shape of the denoiser `UNetModelSwin` (ResShift, arXiv:2307.12348, and SinSR)."""

    image_size: int = 64
    """Nominal height and width of the latent; other sizes run too, see `latent_multiple`."""

    in_channels: int = 6
    """Channels of the latent and of the low-quality picture together."""

    out_channels: int = 3
    """Channels of the prediction, those of the latent."""

    model_channels: int = 160
    """Channels of the first level, a multiple of 32."""

    channel_mult: tuple[int, ...] = (1, 2, 2, 4)
    """Channels of each level over `model_channels`; their number is the number of levels."""

    num_res_blocks: tuple[int, ...] = (2, 2, 2, 2)
    """Residual blocks of each level on the way down (one more on the way up)."""

    attention_resolutions: tuple[int, ...] = (64, 32, 16, 8)
    """Nominal resolutions (not factors) of the levels that have Swin blocks."""

    swin_depth: int = 2
    """Swin blocks in a row; every second one is shifted by half a window."""

    swin_embed_dim: int = 192
    """Channels inside the Swin blocks, a multiple of 32 and of `num_head_channels`."""

    num_head_channels: int = 32
    """Channels of an attention head."""

    window_size: int = 8
    """Height and width of an attention window, in latent pixels of its level."""

    mlp_ratio: float = 4.0
    """Hidden channels of a Swin block's feed-forward part over `swin_embed_dim`."""

    use_scale_shift_norm: bool = True
    """Let the time step scale and shift the second norm of a residual block, or only be added."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_positive(
            name,
            image_size=self.image_size,
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            swin_depth=self.swin_depth,
            num_head_channels=self.num_head_channels,
            window_size=self.window_size,
        )
        check_groups(name, model_channels=self.model_channels, swin_embed_dim=self.swin_embed_dim)
        if not self.channel_mult or min(self.channel_mult) < 1:
            raise OptionError(
                f"{name}.channel_mult is {self.channel_mult}; it needs a factor of at least 1"
                " for each level"
            )
        if len(self.num_res_blocks) != len(self.channel_mult) or min(self.num_res_blocks) < 1:
            raise OptionError(
                f"{name}.num_res_blocks is {self.num_res_blocks}; it needs one number of at least"
                f" 1 for each of the {len(self.channel_mult)} levels"
            )
        self._check_levels(name)

    def _check_levels(self, name: str) -> None:
        levels = len(self.channel_mult)
        if self.image_size % 2 ** (levels - 1):
            raise OptionError(
                f"{name}.image_size is {self.image_size}; {levels} levels need a multiple of"
                f" {2 ** (levels - 1)}"
            )
        unknown = sorted(set(self.attention_resolutions) - set(self.level_sizes))
        if unknown:
            raise OptionError(
                f"{name}.attention_resolutions has {unknown}; the levels are {self.level_sizes}"
            )
        if self.swin_embed_dim % self.num_head_channels:
            raise OptionError(
                f"{name}.swin_embed_dim is {self.swin_embed_dim}; it must be a multiple of"
                f" num_head_channels ({self.num_head_channels})"
            )
        if self.mlp_ratio <= 0:
            raise OptionError(f"{name}.mlp_ratio is {self.mlp_ratio}; it must be above 0")

    @property
    def level_sizes(self) -> list[int]:
        """Nominal height and width of each level, from the top."""
        return [self.image_size >> level for level in range(len(self.channel_mult))]

    @property
    def latent_multiple(self) -> int:
        """Height and width of a latent must be multiples of this (64 for the official network)."""
        return latent_multiple(self.level_sizes, self.attention_resolutions, self.window_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class AutoencoderSettings:
    """Shape of the first stage `VQAutoencoder` (VQGAN, arXiv:2012.09841; ResShift's VQ-f4)."""

    in_channels: int = 3
    """Channels of the picture."""

    out_channels: int = 3
    """Channels of the decoded picture."""

    channels: int = 128
    """Channels of the first level, a multiple of 32."""

    channel_mult: tuple[int, ...] = (1, 2, 4)
    """Channels of each level over `channels`; every level but the last halves the picture."""

    num_res_blocks: int = 2
    """Residual blocks of each level in the encoder (one more in the decoder)."""

    level_res_blocks: tuple[int, ...] | None = None
    """The same level by level, where the levels differ (ResShift's autoencoder for faces); None:
    they do not. `load_autoencoder` refuses it: no network here is built so."""

    z_channels: int = 3
    """Channels between the encoder and `quant_conv`."""

    embed_dim: int = 3
    """Channels of the latent, the length of a code."""

    n_embed: int = 8192
    """Number of codes."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_positive(
            name,
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            num_res_blocks=self.num_res_blocks,
            z_channels=self.z_channels,
            embed_dim=self.embed_dim,
            n_embed=self.n_embed,
        )
        check_groups(name, channels=self.channels)
        if not self.channel_mult or min(self.channel_mult) < 1:
            raise OptionError(
                f"{name}.channel_mult is {self.channel_mult}; it needs a factor of at least 1"
                " for each level"
            )
        blocks = self.level_res_blocks
        if blocks is not None and (len(blocks) != len(self.channel_mult) or min(blocks) < 1):
            raise OptionError(
                f"{name}.level_res_blocks is {blocks}; it needs one number of at least 1 for each"
                f" of the {len(self.channel_mult)} levels"
            )

    @property
    def scale(self) -> int:
        """Picture pixels per latent pixel along one side (4 for VQ-f4)."""
        return 1 << (len(self.channel_mult) - 1)


def realsrx4_unet() -> UNetSettings:
    """The 118.6 M parameter network of ResShift realsrx4, SinSR and BiMaCoSR."""
    return UNetSettings()


def vq_f4() -> AutoencoderSettings:
    """The 55.3 M parameter autoencoder of ResShift realsrx4, SinSR and BiMaCoSR."""
    return AutoencoderSettings()
