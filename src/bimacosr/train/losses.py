"""Losses in picture space, each a plain function of the result and the truth.

Shapes: B batch, C channels, H and W in pixels of the enlarged picture (BCHW, RGB in [0, 1]);
s the scale.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["flat_area_loss", "gaussian_blur", "phase_loss", "shifted_blurred"]


def gaussian_blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of BCHW maps, reflecting at the edges; `sigma` in pixels."""
    radius = max(1, round(3 * sigma))
    place = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    taps = torch.exp(-(place**2) / (2 * sigma**2))
    taps = (taps / taps.sum()).repeat(x.shape[1], 1)
    x = F.pad(x, (radius,) * 4, mode="reflect")
    x = F.conv2d(x, taps[:, None, None, :], groups=x.shape[1])
    return F.conv2d(x, taps[:, None, :, None], groups=x.shape[1])


def phase_loss(sr: Tensor, hr: Tensor, *, scale: int = 4, window: int = 12) -> Tensor:
    """How much the local mean error differs between the s^2 pixel-shuffle phases.

    A network that enlarges by pixel shuffle can print the sampling lattice on the picture; there
    its mean error over a small area depends on the phase.

    Args:
        sr: Result, BCHW.
        hr: Truth, BCHW.
        scale: Enlargement s.
        window: Side of the area in low-quality pixels.
    """
    error = F.pixel_unshuffle(sr - hr, scale)
    batch, _, h, w = error.shape
    window = min(window, h, w)
    means = F.avg_pool2d(error, window, stride=max(1, window // 2))
    means = means.view(batch, -1, scale**2, *means.shape[2:])  # the phases of a colour lie together
    return (means - means.mean(2, keepdim=True)).abs().mean()


def flat_area_loss(sr: Tensor, hr: Tensor, *, sigma: float = 1.5, quiet: float = 0.012) -> Tensor:
    """Error of the fine detail where the truth has none: punishes grain on flat areas.

    Args:
        sr: Result, BCHW.
        hr: Truth, BCHW.
        sigma: What counts as fine: detail under a blur of this many pixels.
        quiet: Mean detail of the truth at which the weight has fallen to 1/e.
    """
    detail_hr, detail_sr = hr - gaussian_blur(hr, sigma), sr - gaussian_blur(sr, sigma)
    activity = gaussian_blur(detail_hr.abs().mean(1, keepdim=True), 2 * sigma)
    return ((detail_sr - detail_hr).abs() * torch.exp(-activity / quiet)).mean()


def shifted_blurred(pictures: Tensor, shift: tuple[int, int], sigma: float) -> Tensor:
    """Pictures moved by up to a few pixels and slightly blurred, for a perceptual loss.

    A feature network samples its input on a fixed lattice; without the shift the student learns
    that lattice and prints it, without the blur it learns dots that only the features see.
    """
    dy, dx = shift
    return gaussian_blur(pictures[..., dy:, dx:], sigma)
