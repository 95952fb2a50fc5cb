#!/usr/bin/env python3
"""Enlarge the evaluation pictures with every student that scripts/train_table has trained.

    table_pictures.py RUNS EVAL OUT

RUNS holds a folder for each student (a run of `bimacosr train distill` or `binarize`), EVAL
`paired/<set>/lr`. Writes OUT/<set>/<student>/<picture>.png, which `bimacosr evaluate` measures; a
student whose pictures are there is left out. The float student runs in PyTorch as all others do.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from bimacosr.binarize.convert import binarize
from bimacosr.config.train import TrainRecipe
from bimacosr.diffusion.process import enlarge, make_process
from bimacosr.diffusion.samplers import one_step
from bimacosr.networks.pixel_codec import PixelCodec
from bimacosr.train.weights import fill, one_step_network, one_step_shape, open_weights


def open_student(run: Path) -> tuple[nn.Module, TrainRecipe]:
    """The averaged network of a run, and its recipe."""
    weights = open_weights(str(run))
    assert weights.recipe is not None
    network = one_step_network(weights, weights.recipe.model)
    if network is None:
        network = binarize(one_step_shape(weights.recipe.model), weights.recipe.binarize)
        fill(network, weights)
    return network.eval(), weights.recipe


@torch.inference_mode()
def restore(network: nn.Module, recipe: TrainRecipe, lq: Tensor) -> Tensor:
    """A whole picture in one step: 1,3,h,w in [0, 1] to 1,3,4h,4w in [0, 1]."""
    codec, process = PixelCodec(recipe.model.scale), make_process(recipe.diffusion)
    photo = lq * 2 - 1
    z_y = codec.encode(enlarge(photo, recipe.model.scale))
    z_0 = one_step(lambda z, t: network(z, t, photo), z_y, process, lambda _: torch.zeros_like(z_y))
    return (codec.decode(z_0) * 0.5 + 0.5).clamp(0, 1)


def read(path: Path) -> Tensor:
    """A picture as 1,3,H,W in [0, 1]."""
    with Image.open(path) as image:
        pixels = np.array(image.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def main(runs: Path, data: Path, out: Path) -> None:
    """Every finished student, every set."""
    torch.set_num_threads(1)
    for run in sorted(path.parent for path in runs.glob("*/done")):
        if run.name == "teacher" or (out / run.name / "done").exists():
            continue
        network, recipe = open_student(run)
        for low in sorted(data.glob("paired/*/lr")):
            folder = out / low.parent.name / run.name
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(low.iterdir()):
                sr = (restore(network, recipe, read(path))[0] * 255).round().byte()
                picture = Image.fromarray(sr.permute(1, 2, 0).numpy())
                picture.save(folder / f"{path.stem}.png", compress_level=1)
        (out / run.name).mkdir(parents=True, exist_ok=True)
        (out / run.name / "done").touch()
        print(run.name, flush=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
