"""Which machine, which versions, how busy: without these a figure says nothing."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bimacosr import __version__

__all__ = ["describe_machine", "describe_run", "has_bfloat16", "load_average"]

CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")

_PACKAGES = ("numpy", "pillow", "torch", "openvino", "numkong", "ncnn")
_ENVIRONMENT = ("ATEN_", "BIMACOSR_", "DNNL_", "KMP_", "MALLOC_", "MKL_", "OMP_", "ONEDNN_", "OV_")
_FEATURES = (
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx512_bitalg",
    "avx512_vpopcntdq",
    "avx512_vbmi2",
    "gfni",
    "avx512vbmi",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "bf16",
)
"""What may be named among a processor's features: what kernels here or there depend on."""


def describe_machine() -> dict[str, Any]:
    """Processor, cores, features that matter, caches, system."""
    told = _cpuinfo()
    model = told.get("model name") or _sysctl("machdep.cpu.brand_string")
    if told.get("cpu family"):
        model = f"{model} (family {told['cpu family']}, model {told.get('model')})"
    return {
        "processor": model or platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 1,
        "features": [name for name in _FEATURES if name in _features()],
        "caches": _caches(),
        "system": platform.platform(),
    }


def describe_run() -> dict[str, Any]:
    """Date, command line, environment as far as it bears on speed, versions of what takes part."""
    versions = {"bimacosr": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    environment = {k: v for k, v in sorted(os.environ.items()) if k.startswith(_ENVIRONMENT)}
    return {
        "date": date,
        "command": command,
        "environment": environment,
        "versions": versions,
    }


def load_average() -> list[float] | None:
    """Mean number of running tasks over the last 1, 5 and 15 minutes, where the system tells."""
    if not hasattr(os, "getloadavg"):
        return None
    return [round(load, 2) for load in os.getloadavg()]


def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16; without it, it is slower than float32."""
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(_features())


def _features() -> set[str]:
    told = _cpuinfo()
    return set((told.get("flags") or told.get("Features") or "").split())


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first processor."""
    if not CPUINFO.is_file():
        return {}
    first = CPUINFO.read_text().split("\n\n")[0]
    return dict(re.findall(r"^([^\t:]+)\s*: (.*)$", first, re.MULTILINE))


def _caches() -> dict[str, str]:
    """Sizes of the first processor's caches, by level."""
    found = {}
    for cache in sorted(CACHES.glob("index*")):
        level, kind = (cache / "level").read_text().strip(), (cache / "type").read_text().strip()
        found[f"L{level} {kind.lower()}"] = (cache / "size").read_text().strip()
    return found


def _sysctl(name: str) -> str | None:
    if sys.platform != "darwin":
        return None
    done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
