"""Runs the training of the parcel that it lies in; needs Python and PyTorch, and installs the rest.

    tar -xf parcel.tar && python run.py --max-minutes 9

Whatever happens, `result.tar` holds the newest checkpoint, the log and the samples afterwards; a
second call goes on from there. `bimacosr train parcel` writes this file as `run.py`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tarfile
from pathlib import Path

__all__ = ["main"]

STAGE = "@STAGE@"
HERE = Path(__file__).resolve().parent
NEEDED = {
    "click": "click",
    "numpy": "numpy",
    "PIL": "pillow",
    "rich": "rich",
    "safetensors": "safetensors",
    "yaml": "pyyaml",
}


def main() -> int:
    """Train, pack the result, and hand on the status of the training."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--max-minutes", type=float, default=9.0)
    parser.add_argument("--gpus", type=int, default=1, help="processes, one for each GPU")
    parser.add_argument("--result", type=Path, default=HERE / "result.tar")
    arguments, rest = parser.parse_known_args()
    missing = [pip for name, pip in NEEDED.items() if importlib.util.find_spec(name) is None]
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is missing: install it first", file=sys.stderr)
        return 1
    if missing:
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", *missing], check=True)
    start = ["-m", "bimacosr"]
    if arguments.gpus > 1:
        start = ["-m", "torch.distributed.run", "--standalone"]
        start += ["--nproc-per-node", str(arguments.gpus), "-m", "bimacosr"]
    command = [sys.executable, *start, "train", STAGE, "--recipe", "recipe.yaml", "-o", "run"]
    command += ["--resume", "auto", "--max-minutes", str(arguments.max_minutes), *rest]
    places = [str(HERE / "src"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places))}
    try:
        return subprocess.run(command, cwd=HERE, env=environment, check=False).returncode
    finally:
        pack(arguments.result)


def pack(result: Path) -> None:
    """Put the run's newest checkpoint, log and samples into an archive."""
    run = HERE / "run"
    newest = sorted((run / "checkpoints").glob("step_*.pt"))[-1:]
    kept = [*newest, run / "recipe.yaml", run / "log.jsonl", *sorted(run.glob("samples/*.png"))]
    kept += sorted(run.glob("failure_step_*.json"))
    with tarfile.open(result, "w") as archive:
        for path in kept:
            if path.is_file():
                archive.add(path, path.relative_to(HERE).as_posix())


if __name__ == "__main__":
    sys.exit(main())
