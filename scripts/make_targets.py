"""Make the image-space teacher's pictures of the degraded crops of a `train_edge.py` run.

    python scripts/make_targets.py --pairs out/edge/pairs.pt --teacher realesrgan-x4plus.param

The teacher is Real-ESRGAN x4plus (BSD-3-Clause), read from ncnn's files. `targets.u8` beside
the pairs grows picture by picture; killed, it goes on with the same command. In bfloat16, 53 dB
from float32, a 72x72 crop takes about a quarter of a second on one core with AMX.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from bimacosr.errors import BimacosrError
from bimacosr.train.rrdb import RRDBNet, load_ncnn
from bimacosr.train.targets import TargetCache


def main() -> None:
    """Read the pairs and the teacher, make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=Path, required=True, help="pairs.pt of the run")
    parser.add_argument("--teacher", type=Path, required=True, help="ncnn's .param, .bin beside it")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--float32", action="store_true", help="for machines without AMX")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    kind = torch.float32 if args.float32 else torch.bfloat16
    network = load_ncnn(RRDBNet(), args.teacher).eval()
    network = network.to(kind, memory_format=torch.channels_last)

    @torch.inference_mode()
    def teacher(photos: Tensor) -> Tensor:
        result: Tensor = network(photos.to(kind, memory_format=torch.channels_last))
        return result

    cache = TargetCache(args.pairs.with_name("targets.u8"), torch.load(args.pairs))
    cache.extend(teacher, args.batch, lambda n, of: n % 200 or print(f"{n} of {of}", flush=True))


if __name__ == "__main__":
    try:
        main()
    except BimacosrError as error:
        raise SystemExit(f"make_targets: {error}") from error
