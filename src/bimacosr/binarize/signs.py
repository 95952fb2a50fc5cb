"""Signs with a gradient, and the 1-bit weights and activations made of them.

A sign has no useful derivative, so each estimator pairs a sign in the forward pass with a
surrogate in the backward pass. A binarization method picks one for activations and one for
weights; it never brings its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = [
    "binary_activation",
    "binary_weight",
    "sign_bireal",
    "sign_clip",
    "sign_of",
]


def sign_of(x: Tensor, of_zero: int = 0) -> Tensor:
    """Sign of `x` in its own dtype; 0 and -0 give `of_zero` (0 or +1)."""
    return torch.sign(x) if of_zero == 0 else 1.0 - 2.0 * (x < 0).to(x.dtype)


class _BiRealSign(torch.autograd.Function):
    """Sign whose gradient is the triangle 2 - 2|x| on (-1, 1)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, of_zero: int) -> Tensor:
        ctx.save_for_backward(x)
        return sign_of(x, of_zero)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grads[0] * (2 - 2 * x.abs()).clamp(min=0), None


class _ClipSign(torch.autograd.Function):
    """Sign whose gradient is 1 on [-limit, limit] and 0 outside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, limit: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.limit = limit
        return torch.sign(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grads[0] * (x.abs() <= ctx.limit), None


def sign_bireal(x: Tensor, of_zero: int = 0) -> Tensor:
    """Sign with the piecewise-linear gradient of Bi-Real Net (arXiv 1808.00278, section 3.3)."""
    result: Tensor = _BiRealSign.apply(x, of_zero)  # type: ignore[no-untyped-call]
    return result


def sign_clip(x: Tensor, limit: float = 1.0) -> Tensor:
    """Sign with the clipped straight-through gradient: 1 where |x| <= `limit`, else 0."""
    result: Tensor = _ClipSign.apply(x, limit)  # type: ignore[no-untyped-call]
    return result


def binary_activation(
    x: Tensor, *, channel_dim: int, of_zero: int = 0, relative_gradient: bool = False
) -> Tensor:
    """One scale a pixel or token, times the sign: ``mean|x| sign(x)``.

    Args:
        x: Activations; any shape.
        channel_dim: The dimension that the scale averages over. The scale is not differentiated.
        of_zero: What sign(0) gives.
        relative_gradient: Put Bi-Real's triangle over x / mean|x| instead of x, so that the
            gradient reaches as many activations whatever their size. Without normalisation in
            front of the layer this is what trains.

    Source: arXiv 2502.00333, section 3.2; scale per pixel as in XNOR-Net (arXiv 1603.05279).
    """
    scale = x.detach().abs().mean(channel_dim, keepdim=True)
    if not relative_gradient:
        return scale * sign_bireal(x, of_zero)
    return scale * sign_bireal(x / scale.clamp(min=1e-6), of_zero)


def binary_weight(weight: Tensor) -> Tensor:
    """One scale an output channel, times the sign: ``mean|W| sign(W)``.

    The gradient passes to `weight` where |W| <= 1; the scale is not differentiated.

    Args:
        weight: Cout x ... (convolution or fully connected).
    """
    dims = tuple(range(1, weight.ndim))
    scale = weight.detach().abs().mean(dims, keepdim=True)
    # d(scale * sign)/dW is 1, not scale: the surrogate is the clamped weight itself
    clipped = weight.clamp(-1, 1)
    return (scale * torch.sign(weight)).detach() + (clipped - clipped.detach())
