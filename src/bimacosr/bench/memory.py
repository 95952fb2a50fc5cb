"""Peak memory of a contestant in a process of its own.

python -m bimacosr.bench.memory < JSON     what `peak_memory` starts
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bimacosr.bench.contestants import CONTESTANTS, Contestant, build
from bimacosr.bench.task import Task, task_from_dict
from bimacosr.errors import BimacosrError

__all__ = ["peak_memory"]

STATUS = Path("/proc/self/status")


def peak_memory(contestant: Contestant, task: Task) -> int:
    """Bytes of the largest resident set of a process that gets ready and runs the task twice.

    Python, the contestant's libraries and its weights are in it.

    Raises:
        BimacosrError: the process failed, or this system does not tell.
    """
    told = json.dumps({"contestant": contestant.name, "task": task.as_dict()})
    command = [sys.executable, "-m", "bimacosr.bench.memory"]
    done = subprocess.run(command, input=told, capture_output=True, text=True, check=False)
    lines = done.stdout.split()
    if done.returncode or not lines or not lines[-1].isdecimal():
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BimacosrError(f"the process that measures its memory failed ({last})")
    return int(lines[-1])


def _peak_bytes() -> int:
    """Largest resident set of this process until now.

    Linux counts the process that started this one into `getrusage`, hence its own account first.
    """
    if STATUS.is_file():
        (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource  # not there on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _run(told: dict[str, Any]) -> None:
    task = task_from_dict(told["task"])
    rows = CONTESTANTS[task.benchmark]
    (contestant,) = (row for row in rows if row.name == told["contestant"])
    run = build(contestant, task)
    run()
    run()
    print(_peak_bytes())


if __name__ == "__main__":
    _run(json.load(sys.stdin))
