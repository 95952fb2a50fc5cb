"""A result as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["lines"]

_MIB = 1 << 20


def lines(result: dict[str, Any]) -> Iterator[str]:
    """What was measured where, a row for each case, means by class, and who is not there."""
    machine = result["machine"]
    height, width = result["size"]
    yield f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"
    yield (
        f"{result['benchmark']} of {result['model']} at {height}x{width}, {result['isa']},"
        f" threads: {result['threads']}, load {_load(result['load_at_start'])}"
        f" to {_load(result['load_at_end'])}"
    )
    clock = result["clock"]
    yield f"{'processor' if clock == 'cpu' else 'wall'} time; times longer than ours, medians"
    yield ""
    yield from _table(_rows(result["cases"], clock))
    if result["benchmark"] == "layers":
        yield ""
        yield "geometric means, and of the quartiles"
        yield from _table(_mean_rows(result["summary"]))
    else:
        yield from _spread(result["cases"])
    if "ceilings" in result:
        yield ""
        yield from _roofline(result)
    if "memory" in result:
        yield ""
        yield f"peak memory of a process, {result['memory']['case']}"
        peaks = result["memory"]["bytes"].items()
        yield from _table([[name, f"{peak / _MIB:.0f} MiB"] for name, peak in peaks])
    yield from _absent(result)


def _rows(cases: Sequence[dict[str, Any]], clock: str) -> list[list[str]]:
    labels = list(dict.fromkeys(label for case in cases for label in case["ratios"]))
    rows = [["", "ours ms", *labels]]
    for case in cases:
        ours = 1000 * case["contestants"]["native"][clock]["median"]
        ratios = (case["ratios"].get(label) for label in labels)
        found = ("-" if ratio is None else _times(ratio["median"]) for ratio in ratios)
        rows.append([case["name"], f"{ours:.3f}", *found])
    return rows


def _mean_rows(summary: dict[str, Any]) -> list[list[str]]:
    rows = [["", "ratio", "from", "to", "layers"]]
    for kind, means in summary.items():
        for label, mean in means.items():
            spread = (_times(mean[field]) for field in ("median", "low", "high"))
            rows.append([f"{kind} {label}", *spread, str(mean["cases"])])
    return rows


def _spread(cases: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield ""
    yield "with the quartiles of the rounds"
    rows = [["", "ratio", "from", "to"]]
    for case in cases:
        prefix = f"{case['name']}: " if len(cases) > 1 else ""
        for label, ratio in case["ratios"].items():
            spread = (_times(ratio[field]) for field in ("median", "low", "high"))
            rows.append([prefix + label, *spread])
    yield from _table(rows)
    for case in cases:
        if "profile_ms" not in case:
            continue
        yield ""
        yield "where our time goes, by the engine's own account, in wall milliseconds"
        kinds = case["profile_ms"]
        total = sum(kinds.values())
        rows = [[kind, f"{value:.2f}", f"{value / total:.0%}"] for kind, value in kinds.items()]
        yield from _table(rows)


def _roofline(result: dict[str, Any]) -> Iterator[str]:
    for isa, ceiling in result["ceilings"].items():
        yield (
            f"{isa}: at most {ceiling['macs_per_cycle']:.0f} products of signs a cycle at"
            f" {ceiling['cycles_per_second'] / 1e9:.2f} GHz"
        )
    yield "reached by a whole layer, and by its sums alone"
    rows = []
    for row in result["roofline"]:
        reached = (row.get(name) for name in ("native", "native-sums"))
        shown = (
            "-" if part is None else f"{part['macs_per_cycle']:.0f} ({part['of_ceiling']:.0%})"
            for part in reached
        )
        rows.append([row["case"], row["isa"], *shown])
    yield from _table(rows)


def _absent(result: dict[str, Any]) -> Iterator[str]:
    for name, command in result["missing"].items():
        yield f"{name} is not installed: {command}"
    for name, reason in result["unfit"].items():
        yield f"{name} is left out: {reason}"
    said = set()
    for case in result["cases"]:
        for name, reason in case["left_out"].items():
            if (name, reason) not in said:
                said.add((name, reason))
                yield f"{name} is left out of {case['name']}: {reason}"
    for reason, count in result.get("layers_left_out", {}).items():
        yield f"{count} layers are not measured alone: {reason}"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns side by side, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        yield "  ".join([row[0].ljust(widths[0]), *rest]).rstrip()


def _times(ratio: float) -> str:
    return f"{ratio:.3f}" if ratio < 1 else f"{ratio:.2f}" if ratio < 100 else f"{ratio:.0f}"


def _load(load: Sequence[float] | None) -> str:
    return "unknown" if load is None else str(load[0])
