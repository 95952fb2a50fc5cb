"""`bimacosr upscale`: pictures in, larger pictures out, whatever happens to one of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bimacosr.cli.interrupt import termination_as_interrupt
from bimacosr.cli.paper import paper_options
from bimacosr.cli.report import Report
from bimacosr.config.picture import OutputSettings, PictureLimits
from bimacosr.config.upscale import UpscaleSettings
from bimacosr.errors import BimacosrError, WriteError
from bimacosr.models.catalogue import DEFAULT_MODEL

if TYPE_CHECKING:
    from bimacosr.cli.jobs import Job
    from bimacosr.resolver import SuperResolver

__all__ = ["upscale"]

_FORMATS = ("png", "jpeg", "webp", "tiff", "bmp")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What the user asked for, checked."""

    inputs: tuple[str, ...]
    output: Path | None
    model: str | None
    backend: str
    device: str
    isa: str | None
    paper: dict[str, Any]
    """What was said about weights of the paper family: arguments of `bimacosr.load`."""
    settings: UpscaleSettings
    written: OutputSettings
    limits: PictureLimits
    existing: str
    """What to do about a result that is there: "refuse", "overwrite" or "skip"."""
    dry_run: bool


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for the results, or a file for a single picture. Without it, beside the input "
    "as NAME_x4.EXT (a folder: FOLDER_x4).",
)
@click.option("--model", help=f"Name or packed file. [default: {DEFAULT_MODEL}]")
@click.option("--backend", default="auto", show_default=True, help="auto, native or torch.")
@click.option("--isa", help="Instruction set of the native backend. [default: the best]")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, mps...")
@click.option("--scale", type=float, help="Enlargement; any factor up to 16. [default: 4]")
@click.option("--width", type=int, help="Width of the result in pixels; the height follows.")
@click.option("--height", type=int, help="Height of the result in pixels; the width follows.")
@click.option("--format", "format_name", type=click.Choice(_FORMATS), help="[default: as input]")
@click.option("--quality", type=int, default=95, show_default=True, help="JPEG, WebP: 1 to 100.")
@click.option("--overwrite", is_flag=True, help="Replace results that exist.")
@click.option("--skip-existing", is_flag=True, help="Leave results that exist: continue a batch.")
@click.option("--strip-metadata", is_flag=True, help="Leave out EXIF, XMP and DPI.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the noise.")
@click.option("--tile", type=int, help="Tile side, input pixels. [default: the model's, 128]")
@click.option("--threads", type=int, default=0, help="Threads at work. [default: processors]")
@click.option(
    "--max-pixels",
    type=int,
    default=PictureLimits().max_pixels,
    show_default=True,
    help="Refuse inputs with more pixels.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@paper_options
def upscale(
    inputs: tuple[str, ...],
    output: Path | None,
    model: str | None,
    backend: str,
    device: str,
    isa: str | None,
    paper: dict[str, Any],
    scale: float | None,
    width: int | None,
    height: int | None,
    format_name: str | None,
    quality: int,
    overwrite: bool,
    skip_existing: bool,
    strip_metadata: bool,
    seed: int,
    tile: int | None,
    threads: int,
    max_pixels: int,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Enlarge pictures: files, folders with all below them, and patterns such as "*.jpg".

    One picture that cannot be read or written is reported and the others go on; the exit status
    is then 1. Results appear whole or not at all.
    """
    report = Report(quiet=quiet)
    if overwrite and skip_existing:
        raise click.UsageError("give either --overwrite or --skip-existing, not both")
    try:
        request = Request(
            inputs=inputs,
            output=output,
            model=model,
            backend=backend,
            device=device,
            isa=isa,
            paper=paper,
            settings=UpscaleSettings(
                seed=seed, tile=tile, threads=threads, scale=scale, width=width, height=height
            ),
            written=OutputSettings(
                format=format_name, quality=quality, strip_metadata=strip_metadata
            ),
            limits=PictureLimits(max_pixels=max_pixels),
            existing="overwrite" if overwrite else "skip" if skip_existing else "refuse",
            dry_run=dry_run,
        )
        with termination_as_interrupt():
            run(request, report)
    except BimacosrError as error:
        report.failed(str(error))
    except KeyboardInterrupt:
        report.interrupted()
        sys.exit(130)
    report.finish()
    sys.exit(1 if report.failures else 0)


def run(request: Request, report: Report) -> None:
    """Enlarge all pictures of a request, one after another."""
    from bimacosr.cli.jobs import Job, Source, find_sources, plan_jobs
    from bimacosr.resolver import load

    sources = []
    for found in find_sources(request.inputs, request.output):
        if isinstance(found, Source):
            sources.append(found)
        else:
            report.failed(str(found))
    resolver = load(
        request.model,
        request.backend,
        request.device,
        isa=request.isa,
        notice=_noting(report),
        tile=request.settings.tile,
        **request.paper,
    )
    jobs = []
    for job in plan_jobs(
        sources, request.output, request.written.format, request.settings, resolver.scale
    ):
        if isinstance(job, Job):
            jobs.append(job)
        else:
            report.failed(str(job))
    with report.progress(len(jobs)):
        for job in jobs:
            with _reporting(job.source, report):
                _do(job, resolver, request, report)


def _noting(report: Report) -> Callable[[str], None]:
    """What tells the user something though nothing failed."""
    from bimacosr.io.failures import shown

    def note(message: str) -> None:
        if not report.quiet:
            click.echo(f"note: {shown(message)}", err=True)

    return note


def _do(job: Job, resolver: SuperResolver, request: Request, report: Report) -> None:
    """One picture from file to file."""
    from bimacosr.cli.jobs import is_there
    from bimacosr.io.failures import reading

    if is_there(job.target) and request.existing != "overwrite":
        if request.existing == "skip":
            report.skipped(job.source, job.target)
            return
        raise WriteError(f"{job.target} exists; use --overwrite or --skip-existing")
    if request.dry_run:
        with reading(job.source):
            job.source.stat()
        report.planned(job.source, job.target)
        return
    began = time.monotonic()
    height, width = resolver.enlarge_file(
        job.source,
        job.target,
        settings=request.settings,
        written=request.written,
        limits=request.limits,
        progress=report.tiles_of(job.source),
    )
    report.written(job.source, job.target, (width, height), time.monotonic() - began)


@contextmanager
def _reporting(source: Path, report: Report) -> Iterator[None]:
    """Turn what goes wrong with one picture into one sentence."""
    try:
        yield
    except BimacosrError as error:
        message = str(error)
        report.failed(message if str(source) in message else f"{source}: {message}")
    except MemoryError:
        report.failed(f"{source} does not fit in memory; close other programs or cut it into parts")
    except Exception as error:  # a defect of ours must not stop the others
        report.failed(
            f"{source}: internal error ({type(error).__name__}: {error}); please report it with "
            "the picture"
        )
