"""How far the mean colour of a picture is from another's, which PSNR hardly shows.

Shapes: B batch, H height, W width; pictures are B3HW RGB in [0, 1].
"""

from __future__ import annotations

from torch import Tensor

from bimacosr.metrics.pairs import check_pair

__all__ = ["colour_shift"]


def colour_shift(sr: Tensor, hr: Tensor) -> Tensor:
    """Return the mean of each channel of `sr` less that of `hr`: B3, for R, G, B, of 255.

    Raises:
        OptionError: The shapes differ.
    """
    check_pair(sr, hr)
    return 255 * (sr.double() - hr.double()).mean((2, 3))
