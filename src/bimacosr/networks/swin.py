"""Swin attention on feature maps: shifted windows, relative position bias, 1x1 feed-forward.

Parameter names are those of the official checkpoints (ResShift, SinSR, BiMaCoSR).

Shapes: B batch, E embedding channels, H height, W width (default BCHW); M windows of the batch
(B * window rows * window columns, in that order), w side of a window, N = w * w tokens of a window
(row-major), D channels of a head.

Source: Liu et al. 2021, Swin Transformer, arXiv:2103.14030, section 3.2.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from bimacosr.errors import OptionError
from bimacosr.networks.blocks import GroupNorm32

__all__ = [
    "BasicLayer",
    "SwinBlock",
    "WindowAttention",
    "relative_position_index",
    "shift_mask",
]

MASKED = -100.0
"""Added to the logit of two tokens that must not see each other; exp(-100) counts as nothing."""


def windows_from_map(x: Tensor, window: int) -> Tensor:
    """Cut a BEHW map into windows: (M, N, E)."""
    B, E, H, W = x.shape
    x = x.reshape(B, E, H // window, window, W // window, window)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(-1, window * window, E)


def map_from_windows(tokens_MNE: Tensor, window: int, height: int, width: int) -> Tensor:
    """Put windows (M, N, E) back into a BEHW map of `height` and `width`."""
    E = tokens_MNE.shape[2]
    x = tokens_MNE.reshape(-1, height // window, width // window, window, window, E)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(-1, E, height, width)


def relative_position_index(window: int) -> Tensor:
    """Row of the bias table for each pair of tokens: (N, N) int64 in [0, (2w - 1)^2)."""
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    y, x = y.flatten(), x.flatten()
    rows = y[:, None] - y[None, :] + window - 1
    columns = x[:, None] - x[None, :] + window - 1
    return rows * (2 * window - 1) + columns


def shift_mask(
    height: int, width: int, window: int, shift: int, device: torch.device | None = None
) -> Tensor:
    """What is added to the logits of a shifted block: -100 for pairs that must not see each other.

    Differs from the paper, on purpose. There, tokens that the roll brought together from opposite
    borders are kept apart, in the last row and the last column of windows. The official code, with
    which every checkpoint was trained, masks only the last row of windows, and in it the left
    columns from the right ones (the last `shift`); the goldens show it to 1e-15.

    Args:
        height: Height of the map, a multiple of `window`.
        width: Width of the map, a multiple of `window`.
        window: Side of a window.
        shift: Pixels by which the map was rolled, 1 to `window` - 1.
        device: Where the mask is made.

    Returns:
        (windows of one map, N, N) float32, 0 or -100.

    Source: Swin Transformer, section 3.2, "Efficient batch computation for shifted configuration".
    """
    rows, columns = height // window, width // window
    right_N = (torch.arange(window, device=device) >= window - shift).repeat(window)
    apart_NN = right_N[:, None] != right_N[None, :]
    mask = torch.zeros(rows, columns, *apart_NN.shape, device=device)
    mask[-1] = MASKED * apart_NN
    return mask.flatten(0, 1)


class WindowAttention(nn.Module):
    """Multi-head attention among the tokens of a window, with a learned bias per offset.

    Args:
        dim: Embedding channels E, a multiple of `num_heads`.
        window: Side w of a window.
        num_heads: Number of heads.
    """

    relative_position_index: Tensor

    def __init__(self, dim: int, *, window: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (dim // num_heads) ** -0.5
        table = torch.zeros((2 * window - 1) ** 2, num_heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.register_buffer("relative_position_index", relative_position_index(window))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens_MNE: Tensor, mask: Tensor | None) -> Tensor:
        """Attend within each window.

        Args:
            tokens_MNE: Tokens, (M, N, E).
            mask: Added to the logits, (windows of one map, N, N), or None.

        Returns:
            (M, N, E).
        """
        M, N, E = tokens_MNE.shape
        qkv = self.qkv(tokens_MNE).reshape(M, N, 3, self.num_heads, E // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (M, heads, N, D)
        bias = self.relative_position_bias_table[self.relative_position_index]  # (N, N, heads)
        logits = (q * self.scale) @ k.transpose(2, 3) + bias.permute(2, 0, 1)
        if mask is not None:
            logits = logits + mask.repeat(M // mask.shape[0], 1, 1)[:, None]
        mixed = logits.softmax(dim=-1) @ v
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(M, N, E))
        return out


class SwinBlock(nn.Module):
    """Window attention and a feed-forward part, each behind a group norm and a residual.

    Args:
        dim: Embedding channels E, a multiple of 32.
        resolution: Nominal height and width of the map; sets the size of the `attn_mask` buffer.
        window: Side w of a window, at most `resolution`.
        shift: Cyclic shift before the windows are cut, 0 to `window` - 1.
        num_heads: Number of attention heads.
        mlp_ratio: Hidden over embedding channels of the feed-forward part.
    """

    def __init__(
        self,
        dim: int,
        *,
        resolution: int,
        window: int,
        shift: int,
        num_heads: int,
        mlp_ratio: float,
    ) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = GroupNorm32(dim)
        self.attn = WindowAttention(dim, window=window, num_heads=num_heads)
        hidden = int(dim * mlp_ratio)
        self.mlp = nn.Sequential(
            OrderedDict(fc1=nn.Conv2d(dim, hidden, 1), act=nn.GELU(), fc2=nn.Conv2d(hidden, dim, 1))
        )
        self.norm2 = GroupNorm32(dim)
        if shift:
            # Official checkpoints hold this mask of the nominal size; no code reads it, since
            # maps have other sizes too: `forward` makes the mask of the true size.
            self.register_buffer("attn_mask", shift_mask(resolution, resolution, window, shift))

    def forward(self, x: Tensor) -> Tensor:
        """(B, E, H, W) to the same shape; H and W multiples of the window."""
        x = x + self.attend(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def attend(self, x: Tensor) -> Tensor:
        """Roll, cut into windows, attend, put together, roll back."""
        height, width = x.shape[2:]
        if height % self.window or width % self.window:
            raise OptionError(
                f"the feature map is {height}x{width} (height x width); windows of {self.window}"
                f" need multiples of {self.window}"
            )
        if not self.shift:
            tokens = self.attn(windows_from_map(x, self.window), None)
            return map_from_windows(tokens, self.window, height, width)
        mask = shift_mask(height, width, self.window, self.shift, x.device).to(x.dtype)
        x = x.roll((-self.shift, -self.shift), dims=(2, 3))
        tokens = self.attn(windows_from_map(x, self.window), mask)
        x = map_from_windows(tokens, self.window, height, width)
        return x.roll((self.shift, self.shift), dims=(2, 3))


class BasicLayer(nn.Module):
    """Swin blocks between two 1x1 convolutions; there is no residual around the whole.

    Args:
        channels: Channels of the map that comes and goes.
        embed_dim: Channels E inside.
        resolution: Nominal height and width of the map. If it is no larger than `window`, the
            window becomes the whole nominal map and no block is shifted.
        window: Side of a window.
        depth: Number of Swin blocks; every second one is shifted by half a window.
        num_heads: Number of attention heads.
        mlp_ratio: Hidden over embedding channels of the feed-forward parts.
    """

    def __init__(
        self,
        channels: int,
        *,
        embed_dim: int,
        resolution: int,
        window: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
    ) -> None:
        super().__init__()
        shifted = resolution > window
        window = min(window, resolution)
        self.patch_embed = nn.Sequential(OrderedDict(proj=nn.Conv2d(channels, embed_dim, 1)))
        self.patch_unembed = nn.Sequential(OrderedDict(proj=nn.Conv2d(embed_dim, channels, 1)))
        self.blocks = nn.Sequential(
            *(
                SwinBlock(
                    embed_dim,
                    resolution=resolution,
                    window=window,
                    shift=window // 2 if shifted and i % 2 else 0,
                    num_heads=num_heads,
                    mlp_ratio=mlp_ratio,
                )
                for i in range(depth)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape; H and W multiples of the window."""
        out: Tensor = self.patch_unembed(self.blocks(self.patch_embed(x)))
        return out
