"""How near the 1-bit layers come to what a core can do at best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bimacosr.engine.native import open_native

__all__ = ["measure_ceiling", "place_under"]


def measure_ceiling(isa: str) -> dict[str, float] | None:
    """Cycles a second, and products of signs a cycle in a loop that touches no memory.

    The loop has the instructions of the set's own kernel: look-ups, counts, or products of tiles.
    None where no such loop is written.
    """
    cycles, macs = open_native().measure_ceiling(isa)
    if not cycles:
        return None
    return {"cycles_per_second": cycles, "macs_per_cycle": macs / cycles}


def place_under(
    ceiling: dict[str, float], cases: Sequence[dict[str, Any]], clock: str, threads: int
) -> list[dict[str, Any]]:
    """Products of signs a cycle and core that each layer reaches, whole and its sums alone."""
    placed = []
    for case in cases:
        row: dict[str, Any] = {"case": case["name"]}
        for name in ("native", "native-sums"):
            if name in case["contestants"]:
                seconds = case["contestants"][name][clock]["median"]
                if clock == "wall":
                    seconds *= threads
                macs_per_cycle = case["macs"] / seconds / ceiling["cycles_per_second"]
                row[name] = {
                    "macs_per_cycle": macs_per_cycle,
                    "of_ceiling": macs_per_cycle / ceiling["macs_per_cycle"],
                }
        placed.append(row)
    return placed
