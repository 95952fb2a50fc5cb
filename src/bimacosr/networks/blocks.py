"""The convolutional parts of the Swin-UNet: norm, time embedding, residual block, resampling.

Parameter names are those of the official checkpoints (ResShift, SinSR, BiMaCoSR).

Shapes: B batch, C channels, H height, W width (default BCHW); D width of the time embedding.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Downsample", "GroupNorm32", "ResBlock", "Upsample", "timestep_embedding"]


def timestep_embedding(t: Tensor, dim: int) -> Tensor:
    """Cosines, then sines, of the time step at `dim // 2` frequencies from 1 down to 1/10000.

    Computed in float32 whatever `t` is, as trained networks saw it; promote the result if needed.

    Args:
        t: Time steps of the network, (B,), integer or float, 0 and above.
        dim: Width D of the embedding; a zero column is added if it is odd.

    Returns:
        (B, D) float32 in [-1, 1].

    Source: Vaswani et al. 2017, Attention Is All You Need, section 3.5.
    """
    half = dim // 2
    index = torch.arange(half, dtype=torch.float32, device=t.device)
    frequencies = torch.exp(-math.log(10000) * index / half)
    angles = t.to(torch.float32)[:, None] * frequencies
    embedding = torch.cat([torch.cos(angles), torch.sin(angles)], dim=1)
    return F.pad(embedding, (0, dim % 2))


class GroupNorm32(nn.GroupNorm):
    """Group norm of 32 groups that never computes below float32; the result has the input's type.

    Source: Wu and He 2018, Group Normalization, arXiv:1803.08494.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(32, channels, eps=eps)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise a BCHW map; float16 and bfloat16 go through float32, float64 stays."""
        dtype = torch.promote_types(input.dtype, torch.float32)
        weight, bias = self.weight.to(dtype), self.bias.to(dtype)
        y = F.group_norm(input.to(dtype), self.num_groups, weight, bias, self.eps)
        return y.to(input.dtype)


class ResBlock(nn.Module):
    """Two 3x3 convolutions around which the time step scales and shifts (or only shifts).

    Args:
        in_channels: Channels of the input, a multiple of 32.
        out_channels: Channels of the output, a multiple of 32.
        emb_channels: Width of the time embedding.
        use_scale_shift_norm: The embedding gives scale and shift of the second norm; otherwise
            it is added before it.

    Source: Dhariwal and Nichol 2021, arXiv:2105.05233, section 3 (adaptive group normalisation).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        emb_channels: int,
        use_scale_shift_norm: bool = True,
    ) -> None:
        super().__init__()
        self.use_scale_shift_norm = use_scale_shift_norm
        self.in_layers = nn.Sequential(
            GroupNorm32(in_channels),
            nn.SiLU(),
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
        )
        emb_out = 2 * out_channels if use_scale_shift_norm else out_channels
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, emb_out))
        self.out_layers = nn.Sequential(
            GroupNorm32(out_channels),
            nn.SiLU(),
            nn.Identity(),  # the official dropout, 0 in every checkpoint; it keeps the name of .3
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.skip_connection: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.skip_connection = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Refine map `x` (B, Cin, H, W) at time embedding `emb` (B, D) to (B, Cout, H, W)."""
        h = self.in_layers(x)
        modulation = self.emb_layers(emb)[:, :, None, None]
        norm, activation, dropout, conv = self.out_layers
        if self.use_scale_shift_norm:
            scale, shift = modulation.chunk(2, dim=1)
            h = norm(h) * (1 + scale) + shift
        else:
            h = norm(h + modulation)
        h = conv(dropout(activation(h)))
        out: Tensor = self.skip_connection(x) + h
        return out


class Downsample(nn.Module):
    """Halve height and width by a 3x3 convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H/2, W/2)."""
        y: Tensor = self.op(x)
        return y


class Upsample(nn.Module):
    """Double height and width by repeating pixels, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 2H, 2W)."""
        y: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return y
