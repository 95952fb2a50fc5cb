"""A result as a picture: bars of ratios, and the layers under the ceiling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bimacosr.errors import BackendError, OptionError, WriteError

__all__ = ["check_plot", "plot"]

_ENDINGS = (".png", ".svg", ".pdf")


def check_plot(path: Path) -> None:
    """Say before the work what would fail after it.

    Raises:
        OptionError: the ending is not one that can be drawn.
        BackendError: matplotlib is not installed.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise OptionError(f"{path} cannot be drawn; name a file of {', '.join(_ENDINGS)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise BackendError("a plot needs matplotlib: pip install matplotlib") from error


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw a result of `bimacosr.bench.measure.measure` into a file.

    Raises:
        WriteError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    groups = list(result["summary"].items())
    panels = len(groups) + ("roofline" in result)
    figure = Figure(figsize=(5.5 * panels, 4.5), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for axis, (kind, ratios) in zip(axes, groups, strict=False):
        _bars(axis, kind, ratios)
    if "roofline" in result:
        _draw_roofline(axes[-1], result)
    figure.suptitle(
        f"{result['benchmark']}, {result['model']}, {result['isa']}, threads:"
        f" {result['threads']}\n{result['machine']['processor']}",
        fontsize=9,
    )
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise WriteError(f"{path} cannot be written ({error.strerror})") from error


def _bars(axis: Any, kind: str, ratios: dict[str, Any]) -> None:
    from matplotlib.ticker import NullFormatter

    labels = list(ratios)
    medians = [ratios[label]["median"] for label in labels]
    spread = [
        [ratios[label]["median"] - ratios[label]["low"] for label in labels],
        [ratios[label]["high"] - ratios[label]["median"] for label in labels],
    ]
    bars = axis.barh(labels, medians, xerr=spread, color="tab:blue", capsize=2)
    axis.bar_label(bars, fmt="%.3g", padding=3, fontsize=8)
    axis.axvline(1, color="black", linewidth=1)
    axis.set_xscale("log")
    axis.margins(x=0.15)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.invert_yaxis()
    axis.set_title(kind)
    axis.set_xlabel("times longer than ours")


def _draw_roofline(axis: Any, result: dict[str, Any]) -> None:
    for name, label in (("native", "whole layer"), ("native-sums", "sums alone")):
        points = [
            (row["macs"], row[name]["of_ceiling"]) for row in result["roofline"] if name in row
        ]
        if points:
            axis.scatter(*zip(*points, strict=True), label=label, s=14)
    axis.axhline(1, color="black", linewidth=1)
    axis.set_xscale("log")
    axis.set_ylim(0, 1.05)
    ceilings = result["ceilings"].items()
    most = ", ".join(f"{isa}: {ceiling['macs_per_cycle']:.0f}" for isa, ceiling in ceilings)
    axis.set_title(f"of the ceiling (products a cycle, {most})", fontsize=9)
    axis.set_xlabel("products of signs in a layer")
    axis.set_ylabel("share of the ceiling")
    axis.legend()
