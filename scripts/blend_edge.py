"""Blend the averaged weights of two states of one training.

    python scripts/blend_edge.py early.pt late.pt 0.5 average.pt

A discriminator moves a small network's grain about from state to state; between two states of
one training the grain of both fades, and what they agree on stays.

Source: network interpolation, ESRGAN, arXiv 1809.00219, section 3.4.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

JUDGE = ("discriminator", "discriminator_optimiser")  # of a late state.pt, for `--start`


def main() -> None:
    """Read both, write the blend."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("early", type=Path, help="average-*.pt or state.pt of train_edge.py")
    parser.add_argument("late", type=Path, help="another of the same shape")
    parser.add_argument("share", type=float, help="of the late one, 0 to 1")
    parser.add_argument("out", type=Path, help="average.pt to write")
    parser.add_argument("--step", type=int, help="steps to record, if not the late one's")
    args = parser.parse_args()
    early, late = (torch.load(path, weights_only=True) for path in (args.early, args.late))
    if early["settings"] != late["settings"]:
        raise SystemExit(f"{args.early} and {args.late} are networks of different shapes")
    if not 0 <= args.share <= 1:
        raise SystemExit(f"the share is {args.share}; it must be from 0 to 1")
    blend = {
        name: w.lerp(late["average"][name], args.share) if w.is_floating_point() else w
        for name, w in early["average"].items()
    }
    step = late["step"] if args.step is None else args.step
    told = {"step": step, "settings": early["settings"], "average": blend}
    torch.save(told | {name: late[name] for name in JUDGE if name in late}, args.out)


if __name__ == "__main__":
    main()
