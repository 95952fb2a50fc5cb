"""The low-quality half of a clean picture, by any of the ways that settings describe.

    sharpen -> a chain of the degradation, or a bicubic reduction -> enlarge again

Shapes: B batch, H and W of the clean picture (BCHW), values in [0, 1].
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from bimacosr.config.data import LowQualitySettings
from bimacosr.data.degradation import degrade, resize, round_to_8_bits
from bimacosr.data.draws import Draws
from bimacosr.data.sharpen import sharpen
from bimacosr.errors import OptionError

__all__ = ["make_halves"]


def make_halves(hq: Tensor, settings: LowQualitySettings, draws: Draws) -> tuple[Tensor, Tensor]:
    """The low-quality halves of `hq`, and their targets.

    Args:
        hq: B,3,H,W RGB in [0, 1]; H and W multiples of the scale.
        settings: The chains to choose from, or none: the antialiased bicubic reduction (a = -0.5,
            as Pillow's and, but for the border, MATLAB's).
        draws: The only source of randomness; bicubic takes none.

    Returns:
        B,3,H/scale,W/scale (B,3,H,W with `resize_back`), rounded to 1/255; and B,3,H,W: `hq`, or
        it sharpened.

    Raises:
        OptionError: a side is no multiple of the scale, or too small.
    """
    target = sharpen(hq) if settings.sharpen else hq
    if settings.chains:
        # a draw for one chain alone would change what the chain itself draws
        one = len(settings.chains) == 1
        chain = settings.chains[0] if one else draws.one_of(settings.chains, settings.shares)
        return degrade(target, chain, draws, resize_back=settings.resize_back), target
    return _bicubic(target, settings.scale, settings.resize_back), target


def _bicubic(hq: Tensor, scale: int, resize_back: bool) -> Tensor:
    height, width = hq.shape[2:]
    if height % scale or width % scale:
        raise OptionError(
            f"the picture is {width}x{height} pixels; both must be multiples of {scale}"
        )
    small = F.interpolate(
        hq, (height // scale, width // scale), mode="bicubic", antialias=True, align_corners=False
    )
    return round_to_8_bits(resize(small, (height, width), "bicubic") if resize_back else small)
