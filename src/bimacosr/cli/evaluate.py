"""`bimacosr evaluate`: how good folders of results are, in figures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import Progress

from bimacosr.cli.lists import ListCommand, named_paths, words
from bimacosr.cli.report import Report
from bimacosr.config.evaluate import EvaluateSettings, MetricSettings
from bimacosr.errors import BackendError, BimacosrError
from bimacosr.io.atomic import atomic_file
from bimacosr.io.failures import shown

if TYPE_CHECKING:
    from bimacosr.evaluate.folders import Evaluation, Folders

__all__ = ["evaluate", "measuring", "need_torch", "note", "output_option", "progress"]


def output_option(name: str, help_text: str) -> Callable[..., click.Command]:
    """An option that names a file to write."""
    option: Callable[..., click.Command] = click.option(
        name, f"{name[2:]}_file", type=click.Path(path_type=Path), help=help_text
    )
    return option


@click.command(cls=ListCommand)
@click.option(
    "--sr",
    required=True,
    multiple=True,
    metavar="[NAME=]DIR...",
    help="Folders of results, a row each.",
)
@click.option("--hr", type=click.Path(path_type=Path), help="Folder of originals.")
@click.option(
    "--lr",
    type=click.Path(path_type=Path),
    help="Folder of small pictures: adds bicubic x4, and the differences to it.",
)
@click.option(
    "--metrics",
    multiple=True,
    metavar="NAME...",
    help="What to measure. [default: psnr ssim lpips niqe]",
)
@click.option(
    "--metric-weights",
    type=click.Path(path_type=Path),
    help="Directory of the metrics' weight files. [default: BIMACOSR_METRIC_WEIGHTS]",
)
@click.option(
    "--crop-border",
    type=int,
    default=0,
    show_default=True,
    help="Pixels that PSNR and SSIM leave out at each edge.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda...")
@click.option("--workers", type=int, default=0, help="Pictures at a time. [default: processors]")
@output_option("--json", "Write all figures there, each picture's too.")
@output_option("--csv", "Write each picture's figures there.")
@output_option("--markdown", "Write the table there.")
@click.option("-q", "--quiet", is_flag=True, help="No progress; the table and errors only.")
def evaluate(
    sr: tuple[str, ...],
    hr: Path | None,
    lr: Path | None,
    metrics: tuple[str, ...],
    metric_weights: Path | None,
    crop_border: int,
    device: str,
    workers: int,
    json_file: Path | None,
    csv_file: Path | None,
    markdown_file: Path | None,
    quiet: bool,
) -> None:
    """Measure folders of enlarged pictures, beside their originals if there are any.

    Pictures are paired by name. One without a partner, of another size or damaged is reported and
    the others go on; the exit status is then 1. docs/evaluation.md tells what is measured how.
    """
    report = Report(quiet=quiet)
    with measuring(report):
        need_torch()
        settings = EvaluateSettings(
            metrics=words(metrics),
            metric=MetricSettings(weights_dir=metric_weights, device=device, border_px=crop_border),
            workers=workers,
        )
        from bimacosr.evaluate.folders import Folders
        from bimacosr.evaluate.report import lines, to_markdown
        from bimacosr.evaluate.tables import to_csv

        results = named_paths(sr, lambda path: path.resolve().name)
        evaluation = _run(Folders(results=results, hr=hr, lr=lr), settings, report)
        for line in lines(evaluation):
            click.echo(shown(line))
        for file, content in (
            (json_file, lambda: json.dumps(evaluation.record(), indent=1) + "\n"),
            (csv_file, lambda: to_csv(evaluation.tallies)),
            (markdown_file, lambda: to_markdown(evaluation)),
        ):
            if file is not None:
                _write(file, content, report)
    sys.exit(1 if report.failures else 0)


@contextmanager
def measuring(report: Report) -> Iterator[None]:
    """Report what ends a command that measures in one sentence; Ctrl-C leaves with 130."""
    try:
        yield
    except BimacosrError as error:
        report.failed(str(error))
    except KeyboardInterrupt:
        click.echo("interrupted: nothing was written", err=True)
        sys.exit(130)


def need_torch() -> None:
    """Say in one sentence that PyTorch is missing.

    Raises:
        BackendError: it is.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise BackendError(
            f"measuring needs PyTorch ({error}): pip install 'bimacosr[torch]'"
        ) from error


def note(sentence: str) -> None:
    """Say what the user should know though nothing failed."""
    click.echo(f"note: {shown(sentence)}", err=True)


@contextmanager
def progress(quiet: bool) -> Iterator[tuple[Callable[[int], None], Callable[[], None]]]:
    """A bar on standard error, where that is a terminal: functions to start and to move it."""
    console = Console(stderr=True)
    with Progress(console=console, disable=quiet or not console.is_terminal, transient=True) as bar:
        task = bar.add_task("measuring", total=None)
        yield lambda total: bar.update(task, total=total), lambda: bar.advance(task)


def _run(folders: Folders, settings: EvaluateSettings, report: Report) -> Evaluation:
    from bimacosr.evaluate.folders import evaluate_folders

    with progress(report.quiet) as (start, step):
        return evaluate_folders(
            folders, settings, tell=report.failed, note=note, start=start, step=step
        )


def _write(path: Path, content: Callable[[], str], report: Report) -> None:
    """Write one file; what cannot be written does not keep the others from it."""
    try:
        with atomic_file(path) as file:
            file.write(content().encode())
    except BimacosrError as error:
        report.failed(str(error))
