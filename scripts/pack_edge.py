"""Pack the network of a `train_edge.py` run into a model file.

python scripts/pack_edge.py out/edge/state.pt src/bimacosr/models/edge-x4.safetensors
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from train_edge import BINARIZE

from bimacosr.binarize.convert import binarize
from bimacosr.config.edge import EdgeSettings
from bimacosr.networks.edge import EdgeNet
from bimacosr.pack.format import write_packed
from bimacosr.pack.modules import pack_network


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
