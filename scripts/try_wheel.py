"""Try an installed wheel in a bare environment: what it loads, how long, how large, one picture.

    python scripts/try_wheel.py PICTURE FOLDER

FOLDER receives the enlarged picture. The exit status is 1, with the reason, if a limit is passed.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import time
from importlib.metadata import version
from pathlib import Path

IMPORT_LIMIT_S = 0.3
INSTALL_LIMIT_MB = 130.0
OWN_LIMIT_MB = 10.0


def run(*arguments: str) -> str:
    """What a fresh interpreter prints; exit with its error if it fails."""
    command = [sys.executable, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"python {' '.join(arguments)} failed: {result.stderr}")
    return result.stdout


def import_seconds(runs: int = 7) -> float:
    """Shortest time of `import bimacosr`; the other runs waited for other programs."""
    code = "import time; t = time.perf_counter(); import bimacosr; print(time.perf_counter() - t)"
    return min(float(run("-c", code)) for _ in range(runs))


def megabytes(folder: Path) -> float:
    """Size of all files below a folder; pip is no part of what was installed."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return (
        sum(
            file.stat().st_size
            for file in files
            if not str(file.relative_to(folder)).startswith("pip")
        )
        / 1e6
    )


def main(picture: Path, folder: Path) -> None:
    """Print the figures; exit with a sentence if one is past its limit."""
    packages = Path(sysconfig.get_path("purelib"))
    run("-c", "import bimacosr, sys; assert 'torch' not in sys.modules")
    seconds = import_seconds()
    installed, own = megabytes(packages), megabytes(packages / "bimacosr")
    target = folder / "enlarged.png"
    start = time.perf_counter()
    run("-m", "bimacosr", "upscale", str(picture), "-o", str(target), "--overwrite")
    took = time.perf_counter() - start
    sets = run("-c", "from bimacosr.engine import instruction_sets; print(*instruction_sets())")
    print(
        f"Python {sys.version.split()[0]}, bimacosr {version('bimacosr')}: import {seconds:.3f} s, "
        f"site-packages {installed:.1f} MB, our part {own:.2f} MB, {picture.name} in {took:.2f} s, "
        f"instruction sets {sets.strip()}"
    )
    for name, value, limit, unit in (
        ("import", seconds, IMPORT_LIMIT_S, "s"),
        ("site-packages", installed, INSTALL_LIMIT_MB, "MB"),
        ("our part", own, OWN_LIMIT_MB, "MB"),
    ):
        if value > limit:
            sys.exit(f"{name} is {value:.3g} {unit}; the limit is {limit:.3g} {unit}")
    if (packages / "torch").exists():
        sys.exit("PyTorch came with it; the base install must not need it")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
