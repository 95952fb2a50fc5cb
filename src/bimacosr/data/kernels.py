"""Random blur kernels: Gaussian, generalized Gaussian, plateau and sinc.

A kernel is a k x k float32 array that sums to 1, k odd; x points right and y down.

Source: Real-ESRGAN, arXiv 2107.10833, section 3.1 and 3.3; Liu et al. 2020 for the shapes.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from bimacosr.config.degradation import BlurSettings
from bimacosr.data.draws import Draws

__all__ = ["Kernel", "gaussian_kernel", "pad_kernel", "random_kernel", "random_sinc", "sinc_kernel"]

Kernel = np.ndarray


def gaussian_kernel(
    size: int,
    sigma_x: float,
    sigma_y: float,
    theta: float,
    *,
    beta: float = 1.0,
    plateau: bool = False,
) -> Kernel:
    """``exp(-d^beta / 2)``, or ``1 / (1 + d^beta)`` with a plateau; d the squared distance.

    Args:
        size: Side in pixels, odd.
        sigma_x: Standard deviation along the first axis, pixels.
        sigma_y: Standard deviation along the second axis, pixels.
        theta: Angle of the first axis, radians.
        beta: Shape; 1 is the Gaussian.
        plateau: Use the flat-topped shape.
    """
    rotate = np.array([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]])
    inverse = np.linalg.inv(rotate @ np.diag([sigma_x**2, sigma_y**2]) @ rotate.T)
    axis = np.arange(size) - size // 2
    points = np.stack(np.meshgrid(axis, axis), axis=-1).astype(float)
    distance = np.einsum("yxi,ij,yxj->yx", points, inverse, points)
    shaped = distance**beta
    kernel = 1 / (1 + shaped) if plateau else np.exp(-0.5 * shaped)
    normed: Kernel = (kernel / kernel.sum()).astype(np.float32)
    return normed


def sinc_kernel(size: int, cutoff: float) -> Kernel:
    """Circular low-pass filter; `cutoff` in radians a pixel, up to pi."""
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    radius = torch.hypot(axis[:, None], axis[None, :])
    kernel = cutoff * torch.special.bessel_j1(cutoff * radius) / (2 * math.pi * radius)
    kernel[radius == 0] = cutoff**2 / (4 * math.pi)
    normed: Kernel = (kernel / kernel.sum()).numpy().astype(np.float32)
    return normed


def pad_kernel(kernel: Kernel, size: int) -> Kernel:
    """`kernel` in the middle of a `size` x `size` square of zeros."""
    return np.pad(kernel, (size - kernel.shape[0]) // 2)


def random_kernel(settings: BlurSettings, draws: Draws) -> Kernel:
    """One kernel of the size, kind and shape that `draws` gives."""
    size = draws.one_of(settings.sizes)
    if draws.happens(settings.sinc_probability):
        # a small kernel cannot hold the ripples of a low cutoff
        return random_sinc(size, draws, lowest=math.pi / (3 if size < 13 else 5))
    kind = draws.one_of(settings.kinds, settings.probabilities)
    sigma_x = sigma_y = draws.between(*settings.sigma)
    theta = 0.0
    if kind.endswith("aniso"):
        sigma_y, theta = draws.between(*settings.sigma), draws.between(-math.pi, math.pi)
    beta = 1.0
    if not kind.startswith(("iso", "aniso")):
        plateau = kind.startswith("plateau")
        low, high = settings.plateau_beta if plateau else settings.generalized_beta
        beta = draws.between(low, 1) if draws.happens(0.5) else draws.between(1, high)
    return gaussian_kernel(
        size, sigma_x, sigma_y, theta, beta=beta, plateau=kind.startswith("plateau")
    )


def random_sinc(size: int, draws: Draws, *, lowest: float = math.pi / 3) -> Kernel:
    """A sinc kernel whose cutoff is uniform from `lowest` to pi, radians a pixel."""
    return sinc_kernel(size, draws.between(lowest, math.pi))
