"""Refuses pictures that a metric cannot compare, before torch fails with a message of its own."""

from __future__ import annotations

from torch import Tensor

from bimacosr.errors import OptionError

__all__ = ["check_pair", "check_pictures"]


def check_pictures(pictures: Tensor, min_px: int = 1) -> None:
    """Check that `pictures` are B3HW with both sides of at least `min_px`.

    Raises:
        OptionError: "the metric needs pictures of shape Bx3xHxW, not 3x64x64", or a side is short.
    """
    shape = "x".join(map(str, pictures.shape))
    if pictures.dim() != 4 or pictures.shape[1] != 3:
        raise OptionError(f"the metric needs pictures of shape Bx3xHxW, not {shape}")
    if min(pictures.shape[2:]) < min_px:
        raise OptionError(f"the metric needs pictures of {min_px} px a side at least, not {shape}")


def check_pair(a: Tensor, b: Tensor, min_px: int = 1) -> None:
    """Check that `a` and `b` are pictures of one shape, as `check_pictures` has it.

    Raises:
        OptionError: "the pictures to compare differ in shape: 1x3x64x64 and 1x3x32x32", or what
            `check_pictures` raises.
    """
    check_pictures(a, min_px)
    if a.shape != b.shape:
        shapes = " and ".join("x".join(map(str, t.shape)) for t in (a, b))
        raise OptionError(f"the pictures to compare differ in shape: {shapes}")
