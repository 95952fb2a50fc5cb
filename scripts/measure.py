"""Measure what the product claims: time of `import bimacosr`, peak memory of large results.

    python scripts/measure.py import
    python scripts/measure.py memory --megapixels 1 25 100
    python scripts/measure.py tiles PICTURE

Each measurement is a process of its own. Memory is that of `bimacosr upscale` on a noisy gradient
to PNG, as the operating system reports it (largest resident set), beside the size of the pixel
arrays: the decoded input and the result. Tiles are compared by the PSNR between results of
different tile sizes, and threads by equality.
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image


def import_seconds(runs: int) -> tuple[float, float]:
    """Median wall time of Python importing bimacosr, and of Python doing nothing."""
    times: dict[str, list[float]] = {"import bimacosr": [], "pass": []}
    for _ in range(runs):
        for code, seconds in times.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            seconds.append(time.perf_counter() - began)
    return statistics.median(times["import bimacosr"]), statistics.median(times["pass"])


def peak_bytes(side: int, folder: Path, threads: int) -> int:
    """Largest resident set of the command enlarging a picture of `side` x `side` pixels."""
    y, x = np.mgrid[:side, :side] / max(1, side)
    noise = np.random.default_rng(0).normal(0, 0.05, (side, side))
    channels = [np.clip(plane + noise, 0, 1) * 255 for plane in (x, y, 1 - x)]
    source = folder / f"{side}.png"
    Image.fromarray(np.stack(channels, -1).astype(np.uint8)).save(source)
    command = [sys.executable, "-m", "bimacosr", "upscale", str(source), "-o", str(folder / "out")]
    program = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    measured = [sys.executable, "-c", program, *command, "--quiet", "--threads", str(threads)]
    done = subprocess.run(measured, check=True, capture_output=True, text=True)
    unit = 1 if sys.platform == "darwin" else 1024
    return int(done.stdout.split()[-1]) * unit


def compare_tiles(path: Path) -> None:
    """Print how far results of different tile sizes and numbers of threads lie apart."""
    import bimacosr

    resolver = bimacosr.load()
    with Image.open(path) as image:
        picture = np.asarray(image.convert("RGB"))
    results = {tile: resolver(picture, tile=tile).astype(float) for tile in (64, 128, 256)}
    for one, other in combinations(results, 2):
        error = np.square(results[one] - results[other]).mean()
        psnr = "equal" if error == 0 else f"{10 * math.log10(255**2 / error):.1f} dB"
        print(f"tiles of {one} and {other} pixels: {psnr}")
    single, triple = (resolver(picture, tile=64, threads=threads) for threads in (1, 3))
    print(f"1 and 3 threads: {'equal' if np.array_equal(single, triple) else 'DIFFERENT'}")


def main() -> None:
    """Print the measurement that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("import", "memory", "tiles"))
    parser.add_argument("picture", type=Path, nargs="?", help="for tiles")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 25, 100])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, {platform.system()}")
    if args.what == "import":
        ours, bare = import_seconds(args.runs)
        print(f"import bimacosr: {ours:.3f} s; Python alone: {bare:.3f} s (medians of {args.runs})")
        return
    if args.what == "tiles":
        compare_tiles(args.picture)
        return
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in args.megapixels:
            side = round(math.sqrt(megapixels * 1e6) / 4)
            arrays = 3 * side * side * (1 + 16)
            peak = peak_bytes(side, Path(folder), args.threads)
            print(
                f"result {4 * side}x{4 * side} ({16 * side * side / 1e6:.0f} Mpx): "
                f"peak {peak / 2**20:.0f} MiB, pixel arrays {arrays / 2**20:.0f} MiB, "
                f"beyond them {(peak - arrays) / 2**20:.0f} MiB",
                flush=True,
            )


if __name__ == "__main__":
    main()
