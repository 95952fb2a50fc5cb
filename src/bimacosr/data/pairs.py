"""Training pairs: the clean picture as the target, and what the degradation makes of it.

    sharpen -> degrade -> crop both at the same place

Shapes: B batch, H and W of the clean picture (BCHW), values in [0, 1].
"""

from __future__ import annotations

from torch import Tensor

from bimacosr.config.degradation import DegradationSettings
from bimacosr.data.degradation import degrade
from bimacosr.data.draws import Draws
from bimacosr.data.sharpen import sharpen
from bimacosr.errors import OptionError

__all__ = ["crop_pair", "make_pair"]


def make_pair(
    hq: Tensor,
    settings: DegradationSettings,
    draws: Draws,
    *,
    crop_px: int,
    sharp: bool = False,
    resize_back: bool = False,
) -> tuple[Tensor, Tensor]:
    """Low-quality pictures and their targets.

    Args:
        hq: B,3,H,W RGB in [0, 1]; H and W multiples of the scale.
        settings: The degradation.
        draws: The only source of randomness.
        crop_px: Side of the target, pixels; a multiple of the scale (officially `gt_size`).
        sharp: Sharpen the target, and degrade the sharpened one (officially `use_sharp`).
        resize_back: Enlarge the low-quality picture to the target's size (officially the same).

    Returns:
        The low-quality pictures, rounded to 1/255, and the targets.

    Raises:
        OptionError: a size does not fit the scale, or is too small or too large.
    """
    target = sharpen(hq) if sharp else hq
    lq = degrade(target, settings, draws, resize_back=resize_back)
    return crop_pair(lq, target, crop_px, draws)


def crop_pair(lq: Tensor, hq: Tensor, size_px: int, draws: Draws) -> tuple[Tensor, Tensor]:
    """The same random square of both, at whole pixels of the smaller one.

    Args:
        lq: B,C,h,w.
        hq: B,C,h*k,w*k with a whole k.
        size_px: Side of the square in pixels of `hq`, a multiple of k.
        draws: Gives the upper row, then the left column, in pixels of `lq`.

    Raises:
        OptionError: the square is larger than the pictures, or no multiple of k.
    """
    (height, width), k = lq.shape[2:], hq.shape[2] // lq.shape[2]
    if size_px < 1 or size_px % k:
        raise OptionError(f"the crop is {size_px} pixels; it must be a multiple of {k}")
    side = size_px // k
    if side > min(height, width):
        raise OptionError(
            f"a crop of {size_px} pixels does not fit into a picture of {width * k}x{height * k}"
        )
    top, left = draws.one_of(range(height - side + 1)), draws.one_of(range(width - side + 1))
    of_lq = lq[..., top : top + side, left : left + side]
    top, left = top * k, left * k
    return of_lq, hq[..., top : top + size_px, left : left + size_px]
