"""How near the 1-bit layers come to what a core can do at best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bimacosr.bench.task import LayerShape
from bimacosr.engine.native import open_native

__all__ = ["layer_isa", "measure_ceilings", "place_under"]


def layer_isa(isa: str, shape: LayerShape) -> str:
    """The instruction set that such a layer runs on; "auto" lets the engine choose by its shape."""
    name: str = open_native().layer_isa(isa, shape.inputs, shape.taps, shape.height * shape.width)
    return name


def measure_ceilings(isas: Iterable[str]) -> dict[str, dict[str, float]]:
    """Cycles a second, and products of signs a cycle in a loop that touches no memory, by set.

    The loop has the instructions of the set's own kernel: adders of bits, counts, or products of
    tiles. A set for which no such loop is written is left out.
    """
    ceilings = {}
    for isa in isas:
        cycles, macs = open_native().measure_ceiling(isa)
        if cycles:
            ceilings[isa] = {"cycles_per_second": cycles, "macs_per_cycle": macs / cycles}
    return ceilings


def place_under(
    ceilings: Mapping[str, Mapping[str, float]],
    cases: Sequence[dict[str, Any]],
    clock: str,
    threads: int,
) -> list[dict[str, Any]]:
    """Products of signs a cycle and core that each layer reaches, whole and its sums alone.

    Layers on a set without a ceiling are left out.
    """
    placed = []
    for case in cases:
        ceiling = ceilings.get(case["isa"])
        if ceiling is None:
            continue
        row: dict[str, Any] = {"case": case["name"], "isa": case["isa"], "macs": case["macs"]}
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
