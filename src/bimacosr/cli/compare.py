"""`bimacosr compare`: methods side by side, as a figure or as a page with a slider."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bimacosr.cli.evaluate import measuring, need_torch, note
from bimacosr.cli.lists import ListCommand, named_paths, words
from bimacosr.cli.report import Report
from bimacosr.config.evaluate import EvaluateSettings, FigureSettings, MetricSettings
from bimacosr.errors import OptionError
from bimacosr.io.failures import shown

if TYPE_CHECKING:
    from bimacosr.evaluate.exhibit import Exhibit
    from bimacosr.evaluate.folders import Folders

__all__ = ["compare"]

_FIGURE = FigureSettings()


@click.command(cls=ListCommand)
@click.option(
    "--sr",
    required=True,
    multiple=True,
    metavar="[NAME=]PATH...",
    help="Folders of results, or files of one picture, in the order of the crops.",
)
@click.option(
    "--hr", required=True, type=click.Path(path_type=Path), help="Folder of originals, or a file."
)
@click.option(
    "--lr", type=click.Path(path_type=Path), help="Small pictures, to show bicubic x4 too."
)
@click.option("--picture", "pictures", multiple=True, metavar="NAME...", help="Which to show.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Figure: .png or .pdf.")
@click.option("--html", type=click.Path(path_type=Path), help="Page with a slider.")
@click.option(
    "--region",
    metavar="X,Y,W,H",
    help="What the crops show, pixels of the original. [default: where the methods differ most]",
)
@click.option("--region-size", type=int, default=_FIGURE.region_px, show_default=True)
@click.option("--rows", type=int, default=_FIGURE.rows, show_default=True, help="Rows of crops.")
@click.option("--width", type=float, default=_FIGURE.width_in, show_default=True, help="Inches.")
@click.option("--dpi", type=int, default=_FIGURE.dpi, show_default=True, help="Of a PNG.")
@click.option(
    "--metrics", multiple=True, metavar="NAME...", help="Scores to write. [default: psnr lpips]"
)
@click.option(
    "--metric-weights",
    type=click.Path(path_type=Path),
    help="Directory of the metrics' weight files. [default: BIMACOSR_METRIC_WEIGHTS]",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda...")
def compare(
    sr: tuple[str, ...],
    hr: Path,
    lr: Path | None,
    pictures: tuple[str, ...],
    output: Path | None,
    html: Path | None,
    region: str | None,
    region_size: int,
    rows: int,
    width: float,
    dpi: int,
    metrics: tuple[str, ...],
    metric_weights: Path | None,
    device: str,
) -> None:
    """Draw a region of the original and the same crop of every method, with scores.

    The scores are those of the whole picture, as `bimacosr evaluate` gives them; the best are bold.
    """
    report = Report()
    with measuring(report):
        need_torch()
        if output is None and html is None:
            raise OptionError("nothing is to be written; give -o FILE.png, -o FILE.pdf or --html")
        settings = FigureSettings(
            region=None if region is None else _parsed(region),
            region_px=region_size,
            rows=rows,
            width_in=width,
            dpi=dpi,
        )
        measured = EvaluateSettings(
            metrics=words(metrics),
            metric=MetricSettings(weights_dir=metric_weights, device=device),
        )
        from bimacosr.evaluate.figure import check_figure, draw
        from bimacosr.evaluate.folders import Folders
        from bimacosr.evaluate.page import write_page

        if output is not None:
            check_figure(output)
        folders = Folders(results=named_paths(sr, _method), hr=hr, lr=lr)
        exhibits = _exhibits(folders, words(pictures), measured, settings, report)
        if output is not None:
            draw(exhibits, output, settings)
        if html is not None:
            write_page(exhibits, html)
        for item in exhibits:
            click.echo(f"{shown(item.name)}: region {','.join(map(str, item.region))}")
    sys.exit(1 if report.failures else 0)


def _exhibits(
    folders: Folders,
    wanted: tuple[str, ...] | None,
    measured: EvaluateSettings,
    settings: FigureSettings,
    report: Report,
) -> list[Exhibit]:
    """Measure the pictures that were asked for."""
    from bimacosr.evaluate.choice import choose
    from bimacosr.evaluate.exhibit import exhibit
    from bimacosr.evaluate.folders import find_methods
    from bimacosr.evaluate.measure import Task
    from bimacosr.evaluate.pictures import check_device

    check_device(measured.metric.device)
    choice = choose(measured, originals=True, usual=("psnr", "lpips"))
    if choice.set_metrics:
        raise OptionError("a metric of sets has no score for one picture; leave it out")
    for sentence in choice.notices:
        note(sentence)
    scores, _ = choice.load(measured.metric)
    methods, originals, names = find_methods(folders, report.failed)
    task = Task(
        methods=methods,
        metrics=choice.metrics,
        scores=scores,
        originals=originals,
        device=measured.metric.device,
    )
    chosen = _chosen(wanted, names)
    return [exhibit(task, name, settings, report.failed) for name in chosen]


def _chosen(wanted: tuple[str, ...] | None, names: list[str]) -> list[str]:
    if wanted is None:
        if len(names) > 1:
            some = ", ".join(names[:5]) + ("..." if len(names) > 5 else "")
            raise OptionError(f"there are {len(names)} pictures ({some}); choose with --picture")
        return names
    for name in wanted:
        if name not in names:
            raise OptionError(f"there is no original called {name}; see the names in --hr")
    return list(wanted)


def _method(path: Path) -> str:
    return path.resolve().name if path.is_dir() else path.stem


def _parsed(region: str) -> tuple[int, int, int, int]:
    found = re.fullmatch(r"(\d{1,6}),(\d{1,6}),(\d{1,6}),(\d{1,6})", region.replace(" ", ""))
    if found is None:
        raise OptionError(
            f"the region is {region!r}; give X,Y,W,H in pixels of the original, as 100,40,96,96"
        )
    x, y, width, height = map(int, found.groups())
    return x, y, width, height
