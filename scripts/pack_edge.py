"""Pack the network of a `train_edge.py` run into a model file.

python scripts/pack_edge.py out/edge/state.pt src/bimacosr/models/edge-x4.safetensors
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from train_edge import BINARIZE, read_crop, restore

from bimacosr.binarize.convert import binarize
from bimacosr.config.degradation import camera_x4
from bimacosr.config.edge import EdgeSettings
from bimacosr.data.degradation import degrade
from bimacosr.data.draws import Draws
from bimacosr.networks.edge import EdgeNet
from bimacosr.pack.format import write_packed
from bimacosr.pack.modules import pack_network

SCALE = 4


@torch.no_grad()
def correct_colour(student: nn.Module, folder: Path) -> None:
    """Take off, by the last layer's bias, what the network does to the mean colour of photographs.

    The clean crops of `folder` are made small by `camera_x4`. Training pairs have more noise, which
    black and white cut off; what the network has learnt from that shifts clean photographs.
    """
    shifts = []
    for i, path in enumerate(sorted(folder.glob("*.webp"))):
        small = degrade(read_crop(path)[None].float() / 255, camera_x4(), Draws(i))
        bicubic = F.interpolate(small, scale_factor=SCALE, mode="bicubic", align_corners=False)
        shifts.append((restore(student, small).clamp(0, 1) - bicubic.clamp(0, 1)).mean((0, 2, 3)))
    shift = torch.stack(shifts).mean(0)
    print("mean colour was off by", (255 * shift).tolist(), "of 255")
    bias = student.get_parameter("last.bias")
    bias += 2 * shift.repeat_interleave(SCALE * SCALE)  # the residual, in [-1, 1], is subtracted


def main() -> None:
    """Read the state, pack its averaged weights, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("state", type=Path, help="state.pt of the run, in a 1-bit phase")
    parser.add_argument("out", type=Path, help="packed file to write")
    parser.add_argument("--name", default="edge-x4")
    parser.add_argument(
        "--residual-gain",
        type=float,
        default=1.0,
        help="factor on what the network adds to the bicubic picture; below 1 is gentler",
    )
    parser.add_argument(
        "--colour-by",
        type=Path,
        metavar="FOLDER",
        help="of clean crops: what the network does to their mean colour is taken off again",
    )
    parser.add_argument("--facts", default="{}", help="JSON object shown by `bimacosr info`")
    args = parser.parse_args()
    state = torch.load(args.state, weights_only=True)
    settings = EdgeSettings(**state["settings"])
    shape = {name: getattr(settings, name) for name in ("channels", "blocks", "scale")}
    student = binarize(EdgeNet(**shape), BINARIZE)
    student.load_state_dict(state["average"])
    with torch.no_grad():
        for parameter in student.last.parameters():
            parameter.mul_(args.residual_gain)
    if args.colour_by:
        correct_colour(student, args.colour_by)
    model = pack_network(
        student,
        name=args.name,
        family="edge",
        network=shape,
        binarize_settings=BINARIZE,
        diffusion={"kappa": 0.0, "predict_type": "residual"},
        license_name="Apache-2.0",
        extra={
            "training_steps": state["step"],
            "residual_gain": args.residual_gain,
            **json.loads(args.facts),
        },
    )
    write_packed(args.out, model)
    print(f"{args.out}: {args.out.stat().st_size} bytes, step {state['step']}")


if __name__ == "__main__":
    main()
