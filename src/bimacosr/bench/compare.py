"""From the timings of one case, or of several, to plain data: seconds, ratios, means by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bimacosr.bench.contestants import Contestant
from bimacosr.bench.samples import Clock, Sample, fastest, geometric_mean, quartiles, ratio

__all__ = ["NOT_COMPARED", "compare", "summarise"]

NOT_COMPARED = ("native", "native-sums")
"""Ours: what the ratios are to, and what is only a part of it."""


def compare(
    samples: Mapping[str, Sequence[Sample]], contestants: Sequence[Contestant], clock: Clock
) -> dict[str, Any]:
    """Seconds of everybody, and how many times longer each peer took than we did.

    The fastest peer of each precision appears once more as "best fp32", "best bf16".

    Args:
        samples: Timings by contestant, of "native" at least.
        contestants: Those who ran.
        clock: By which the ratios are taken; seconds are given by both.
    """
    seconds = {
        name: {
            "wall": asdict(quartiles([sample.wall for sample in timed])),
            "cpu": asdict(quartiles([sample.cpu for sample in timed])),
            "rounds": len(timed),
        }
        for name, timed in samples.items()
    }
    best: dict[str, str] = {}
    for precision in ("fp32", "bf16"):
        of_it = [row.name for row in contestants if row.precision == precision]
        timed_of_it = {name: samples[name] for name in of_it if name in samples}
        if timed_of_it:
            best[precision] = fastest(timed_of_it, clock)
    against = {name: name for name in samples if name not in NOT_COMPARED}
    against |= {f"best {precision}": name for precision, name in best.items()}
    ratios = {
        label: asdict(ratio(samples[name], samples["native"], clock))
        for label, name in against.items()
    }
    return {"contestants": seconds, "best": best, "ratios": ratios}


def summarise(cases: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Geometric means of the ratios over the cases of each class, of medians and of quartiles.

    A mean is over the cases in which the peer ran; "cases" is their number.
    """
    summary: dict[str, dict[str, Any]] = {}
    for kind in sorted({case["class"] for case in cases}, reverse=True):
        of_kind = [case["ratios"] for case in cases if case["class"] == kind]
        labels = dict.fromkeys(label for ratios in of_kind for label in ratios)
        summary[kind] = {}
        for label in labels:
            found = [ratios[label] for ratios in of_kind if label in ratios]
            means = {
                field: geometric_mean([entry[field] for entry in found])
                for field in ("median", "low", "high")
            }
            summary[kind][label] = {**means, "cases": len(found)}
    return summary
