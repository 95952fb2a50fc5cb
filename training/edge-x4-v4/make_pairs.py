"""The pairs of this training: a new, lighter version of each crop, and the second one of before.

PYTHONPATH=scripts python training/edge-x4-v4/make_pairs.py ../shared/data/train BEFORE OUT

BEFORE holds `pairs.pt` and `targets.u8` of the second training. Both versions of a crop have the
picture that the teacher made of that second version as their target.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from torch import Tensor
from train_edge import read_crop

from bimacosr.config.degradation import camera_x4, mild_x4, realesrgan_x4
from bimacosr.data.degradation import degrade
from bimacosr.data.draws import Draws

CAMERA_SHARE = 0.65
MILD_SHARE = 0.85  # of what is left


def lightest(crop: Tensor, number: int) -> Tensor:
    """The low-quality half of a crop, 3,H/4,W/4 uint8."""
    draws = Draws((29 * 1_000_003 + number) * 64)
    if draws.happens(CAMERA_SHARE):
        settings = camera_x4()
    else:
        settings = mild_x4() if draws.happens(MILD_SHARE) else realesrgan_x4()
    return (degrade(crop[None].float() / 255, settings, draws)[0] * 255).round().byte()


def main(photos: Path, before: Path, out: Path) -> None:
    """Make and write them."""
    kept = torch.load(before / "pairs.pt", weights_only=True)
    files = sorted(photos.glob("*.webp"))
    pairs = [torch.stack([lightest(read_crop(f), i), kept[i][1]]) for i, f in enumerate(files)]
    torch.save(pairs, out / "pairs.pt")
    length = (before / "targets.u8").stat().st_size // 2  # of the second versions
    with (before / "targets.u8").open("rb") as source, (out / "targets.u8").open("wb") as target:
        for _ in range(2):
            source.seek(length)
            shutil.copyfileobj(source, target)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
