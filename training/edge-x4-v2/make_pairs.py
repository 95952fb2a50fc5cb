"""The pairs of this training: two versions of each crop, the second one lighter.

PYTHONPATH=scripts python training/edge-x4-v2/make_pairs.py ../shared/data/train OUT/pairs.pt
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor
from train_edge import degraded, read_crop

from bimacosr.config.degradation import camera_x4, mild_x4, realesrgan_x4
from bimacosr.data.degradation import degrade
from bimacosr.data.draws import Draws

CAMERA_SHARE = 0.55
MILD_SHARE = 0.78  # of what is left


def lighter(crop: Tensor, seed: int) -> Tensor:
    """The low-quality half of a crop, 3,H/4,W/4 uint8, of the lighter mixture."""
    draws = Draws(seed)
    if draws.happens(CAMERA_SHARE):
        settings = camera_x4()
    else:
        settings = mild_x4() if draws.happens(MILD_SHARE) else realesrgan_x4()
    return (degrade(crop[None].float() / 255, settings, draws)[0] * 255).round().byte()


def main(photos: Path, out: Path) -> None:
    """Make and write them."""
    pairs = []
    for i, path in enumerate(sorted(photos.glob("*.webp"))):
        crop = read_crop(path)
        seeds = (1_000_003 + i) * 64, (17 * 1_000_003 + i) * 64 + 1
        pairs.append(torch.stack([degraded(crop, seeds[0]), lighter(crop, seeds[1])]))
    torch.save(pairs, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
