"""A result as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bimacosr.bench.plot import check_plot, plot
from bimacosr.errors import OptionError

RATIO = {"median": 4.0, "low": 3.0, "high": 5.0, "cases": 1}
RESULT: dict[str, Any] = {
    "benchmark": "layers",
    "model": "edge-x4",
    "isa": "avx2",
    "threads": 1,
    "machine": {"processor": "a processor"},
    "summary": {"3x3": {"torch-fp32": RATIO, "best fp32": RATIO}},
    "ceilings": {"avx2": {"macs_per_cycle": 256.0, "cycles_per_second": 3e9}},
    "roofline": [
        {
            "case": "a layer",
            "isa": "avx2",
            "macs": 1000,
            "native": {"macs_per_cycle": 100.0, "of_ceiling": 0.39},
        }
    ],
}


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_result_is_drawn(tmp_path: Path, ending: str) -> None:
    pytest.importorskip("matplotlib", reason="it is optional: pip install matplotlib")
    target = tmp_path / f"plot.{ending}"
    plot(RESULT, target)
    start = {"png": b"\x89PNG", "svg": b"<?xml"}[ending]
    assert target.read_bytes().startswith(start)
    assert target.stat().st_size > 5000


def test_another_ending_is_refused() -> None:
    with pytest.raises(OptionError, match=r"plot.gif cannot be drawn; name a file of .png"):
        check_plot(Path("plot.gif"))
