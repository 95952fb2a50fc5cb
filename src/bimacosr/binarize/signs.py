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
    "clipped_activation",
    "sign_bireal",
    "sign_clip",
    "sign_of",
    "sign_reste",
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
    def forward(ctx: Any, x: Tensor, limit: float, of_zero: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.limit = limit
        return sign_of(x, of_zero)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return grads[0] * (x.abs() <= ctx.limit), None, None


def sign_bireal(x: Tensor, of_zero: int = 0) -> Tensor:
    """Sign with the piecewise-linear gradient of Bi-Real Net (arXiv 1808.00278, section 3.3)."""
    result: Tensor = _BiRealSign.apply(x, of_zero)  # type: ignore[no-untyped-call]
    return result


def sign_clip(x: Tensor, limit: float = 1.0, of_zero: int = 0) -> Tensor:
    """Sign with the clipped straight-through gradient: 1 where |x| <= `limit`, else 0."""
    result: Tensor = _ClipSign.apply(x, limit, of_zero)  # type: ignore[no-untyped-call]
    return result


def sign_reste(x: Tensor, of_zero: int = 0) -> Tensor:
    """The rectified straight-through estimator of ReSTE (arXiv 2308.06689).

    The official code holds the power o at 1 and the threshold t at 1.5: the gradient is 1 where
    |x| <= 1.5, else 0.
    """
    return sign_clip(x, 1.5, of_zero)


def clipped_activation(x: Tensor, *, channel_dim: int, order: int = 1, of_zero: int = 0) -> Tensor:
    """Sum of `order` terms ``mean|r| sign(r)``, where r is x less the terms before.

    The sign has the clipped gradient, the scales are not differentiated; the gradient of each
    further term reaches x through r too.

    Args:
        x: Activations; any shape.
        channel_dim: The dimension that the scales average over.
        order: Number of terms: 1 in XNOR-Net, 2 in HORQ.
        of_zero: What sign(0) gives.

    Source: XNOR-Net, arXiv 1603.05279; HORQ, arXiv 1708.08687, section 3.
    """
    rest, total = x, torch.zeros_like(x)
    for _ in range(order):
        scale = rest.detach().abs().mean(channel_dim, keepdim=True)
        term = scale * sign_clip(rest, of_zero=of_zero)
        total, rest = total + term, rest - term
    return total


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


def binary_weight(weight: Tensor, order: int = 1) -> Tensor:
    """One scale an output channel, times the sign: ``mean|W| sign(W)``.

    With an `order` above 1 the same is done to what the terms before left over, and all terms
    are added (HORQ, arXiv 1708.08687). The gradient passes to `weight` where |W| <= 1; the
    scales are not differentiated.

    Args:
        weight: Cout x ... (convolution or fully connected).
        order: Number of terms.
    """
    dims = tuple(range(1, weight.ndim))
    rest = weight.detach()
    total = torch.zeros_like(rest)
    for _ in range(order):
        term = rest.abs().mean(dims, keepdim=True) * torch.sign(rest)
        total, rest = total + term, rest - term
    # d(scale * sign)/dW is 1, not scale: the surrogate is the clamped weight itself
    clipped = weight.clamp(-1, 1)
    return total + (clipped - clipped.detach())
