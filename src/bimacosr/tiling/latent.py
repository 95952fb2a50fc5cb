"""How pictures are cut for networks in the latent of an autoencoder, and padded for them.

These networks see no fixed distance: the autoencoder's attention looks at the whole tile, and every
group norm takes its statistics over it. So tiles never agree exactly, however wide the margin. They
overlap by 32 pixels of the input, as officially (256 after 224), of which 24 are a ramp.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bimacosr.config.upscale import SamplingSettings
from bimacosr.tiling.feathered import Feathered
from bimacosr.tiling.official import Official

__all__ = ["FEATHER", "MARGIN", "latent_tiling", "padded"]

MARGIN, FEATHER = 4, 12
"""Pixels of the input: two tiles overlap by 2 (MARGIN + FEATHER) = 32."""

Plane = npt.NDArray[np.float32]


def latent_tiling(sampling: SamplingSettings, multiple: int) -> Feathered | Official:
    """The tiling that was asked for.

    Args:
        sampling: Its kind, and what the network sees at a time.
        multiple: Height and width of a latent must be multiples of this.
    """
    if sampling.tiling == "official":
        return Official(chop_size=sampling.chop_size)
    return Feathered(
        tile=sampling.chop_size - 2 * (MARGIN + FEATHER),
        margin=MARGIN,
        feather=FEATHER,
        multiple=multiple,
        whole=sampling.chop_size,
    )


def padded(lq: Plane, multiple: int) -> Plane:
    """`lq` (H x W x C) reflected to the right and below up to multiples of `multiple`.

    The edge itself is not repeated; a side smaller than its padding is reflected to and fro.
    """
    height, width = lq.shape[:2]
    more = ((0, -height % multiple), (0, -width % multiple), (0, 0))
    return np.ascontiguousarray(np.pad(lq, more, mode="reflect"))
