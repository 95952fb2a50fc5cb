"""`bimacosr data`: photographs to training crops, and clean pictures to pairs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bimacosr.cli.interrupt import termination_as_interrupt
from bimacosr.cli.report import Report
from bimacosr.config.data import KINDS, PrepareSettings, low_quality
from bimacosr.config.picture import PictureLimits
from bimacosr.errors import BimacosrError, OptionError
from bimacosr.io.failures import shown

if TYPE_CHECKING:
    from bimacosr.config.data import LowQualitySettings
    from bimacosr.data.prepare import Summary

__all__ = ["data"]

_PATH = click.Path(path_type=Path)
_CROPS = PrepareSettings()
_AGAIN = "the same command goes on from there"


@click.group()
def data() -> None:
    """Make pictures ready for training: crops of photographs, and low-quality halves."""


_COMMON = (
    click.option(
        "--kind",
        type=click.Choice(KINDS),
        help="Way to make low-quality halves: the heavy degradation of the papers, a mild one, six"
        " parts mild and four heavy, or a bicubic reduction.  [default: realesrgan]",
    ),
    click.option(
        "--config",
        type=_PATH,
        help="Instead: the degradation of this official YAML, its scale too.",
    ),
    click.option("--scale", type=int, help="Sides of HR over those of LR.  [default: 4]"),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of all randomness."),
    click.option(
        "--workers", type=click.IntRange(1), help="Threads at work.  [default: processors]"
    ),
    click.option(
        "--max-pixels",
        type=int,
        default=PictureLimits().max_pixels,
        show_default=True,
        help="Refuse pictures with more pixels.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
)


def _common_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_COMMON):
        command = option(command)
    return command


@data.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTOS...")
@click.option("-o", "--output", type=_PATH, required=True, help="Folder of the training set.")
@click.option(
    "--size", "size_px", type=int, default=_CROPS.size_px, show_default=True, help="Side, pixels."
)
@click.option(
    "--stride",
    "stride_px",
    type=int,
    help="From crop to crop, pixels; below the size they overlap.  [default: the size]",
)
@click.option(
    "--reduce",
    type=float,
    default=_CROPS.reduce,
    show_default=True,
    help="Reduce photos by this factor first; 2 removes most traces of camera and JPEG.",
)
@click.option(
    "--min-sharpness",
    type=float,
    default=_CROPS.min_sharpness,
    show_default=True,
    help="Leave out blurrier crops: Laplacian over gradient, about 2 when sharp; 0: none.",
)
@click.option(
    "--max-flat",
    type=float,
    default=_CROPS.max_flat,
    show_default=True,
    help="Leave out crops with a larger share of flat 16x16 blocks; 1: none.",
)
@click.option(
    "--same-bits",
    type=int,
    default=_CROPS.same_bits,
    show_default=True,
    help="Hashes of 128 bits that differ in so many bits are copies.",
)
@click.option(
    "--per-photo",
    type=int,
    default=_CROPS.per_photo,
    show_default=True,
    help="Only so many crops of a photo, the sharpest; 0: all.",
)
@click.option(
    "--val-share",
    type=float,
    default=_CROPS.val_share,
    show_default=True,
    help="Share of the photos for validation; a pair of each photo's sharpest crop.",
)
@click.option("--licence", default="", help="What the manifest says of these photos.")
@_common_options
def prepare(
    photos: tuple[str, ...],
    output: Path,
    stride_px: int | None,
    size_px: int,
    licence: str,
    kind: str | None,
    config: Path | None,
    scale: int | None,
    seed: int,
    workers: int | None,
    max_pixels: int,
    quiet: bool,
    **thresholds: Any,
) -> None:
    """Cut photographs into a training set: files, folders with all below them, patterns.

    OUTPUT gets train/, val/LR and val/HR in the official layout, and manifest.csv. Flat, blurry
    and repeated crops are left out. Run again after an interruption or with more photos, it adds
    what is missing.
    """
    with _reporting(quiet) as report:
        from bimacosr.data.prepare import prepare as make_crops

        settings = PrepareSettings(
            size_px=size_px,
            stride_px=size_px if stride_px is None else stride_px,
            low_quality=_low_quality(kind, config, scale, report),
            seed=seed,
            **thresholds,
        )
        limits = PictureLimits(max_pixels=max_pixels)
        sources = [path for path, _ in _pictures(photos, output, report)]
        if not sources:
            return
        with report.progress(len(sources)):
            summary = make_crops(
                sources,
                output,
                settings,
                licence=licence,
                limits=limits,
                threads=workers or _processors(),
                failed=report.failed,
                done=report.advance,
            )
        if not quiet:
            click.echo(shown(_told(summary, output)))


@data.command()
@click.argument("hr_dir", metavar="HR_DIR")
@click.option("-o", "--output", type=_PATH, required=True, help="Folder for HR and LR.")
@click.option(
    "--variants",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Low-quality halves of each picture: in LR, LR_2, LR_3...",
)
@_common_options
def degrade(
    hr_dir: str,
    output: Path,
    variants: int,
    kind: str | None,
    config: Path | None,
    scale: int | None,
    seed: int,
    workers: int | None,
    max_pixels: int,
    quiet: bool,
) -> None:
    """Write the low-quality halves of a folder of clean pictures, in pairs of one name.

    A pair depends on the seed and the name alone. Files that are there are kept: run again after
    an interruption or with more pictures, it writes what is missing.
    """
    with _reporting(quiet) as report:
        from bimacosr.data.pair_folder import PairWriter, write_pairs

        settings = _low_quality(kind, config, scale, report)
        limits = PictureLimits(max_pixels=max_pixels)
        writer = PairWriter(
            folder=output, settings=settings, seed=seed, variants=variants, limits=limits
        )
        pictures = list(_pictures((hr_dir,), output, report))
        if not pictures:
            return
        with report.progress(len(pictures)):
            written, there = write_pairs(
                pictures,
                writer,
                threads=workers or _processors(),
                failed=report.failed,
                done=report.advance,
            )
        if not quiet:
            click.echo(shown(f"{output}: pairs of {written} pictures written, {there} were there"))


@contextmanager
def _reporting(quiet: bool) -> Iterator[Report]:
    """Turn what ends the work into one sentence, and what failed on the way into status 1."""
    report = Report(quiet=quiet, go_on=_AGAIN)
    try:
        with termination_as_interrupt():
            yield report
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        report.failed("the degradation needs PyTorch: pip install 'bimacosr[torch]'")
    except BimacosrError as error:
        # the sentence was written for `bimacosr upscale`
        report.failed(str(error).replace("run again with --skip-existing", "run again"))
    except KeyboardInterrupt:
        report.interrupted()
        sys.exit(130)
    if report.failures:
        sys.exit(1)


def _low_quality(
    kind: str | None, config: Path | None, scale: int | None, report: Report
) -> LowQualitySettings:
    """How low-quality halves are made, by name or by an official configuration."""
    if config is None:
        return low_quality(kind or "realesrgan", 4 if scale is None else scale)
    if kind is not None or scale is not None:
        raise OptionError("the configuration says kind and scale; leave out --kind and --scale")
    from bimacosr.checkpoints.official import read_config, read_degradation
    from bimacosr.checkpoints.training_data import low_quality_of
    from bimacosr.checkpoints.yaml_tree import read_tree

    official = read_config(config) if "model" in read_tree(config) else read_degradation(config)
    if official.unknown and not report.quiet:
        names = ", ".join(official.unknown)
        click.echo(shown(f"note: {config} has settings that are not known here: {names}"), err=True)
    try:
        return low_quality_of(official)
    except OptionError as error:
        raise OptionError(f"the configuration {config} cannot be used: {error}") from error


def _pictures(inputs: tuple[str, ...], output: Path, report: Report) -> Iterator[tuple[Path, Path]]:
    """Each picture that was named, with its path below the folder it was found in."""
    from bimacosr.cli.jobs import Source, find_sources

    for found in find_sources(inputs, output):
        if isinstance(found, Source):
            name = found.path.name
            yield found.path, found.path.relative_to(found.root) if found.root else Path(name)
        else:
            report.failed(str(found))


def _processors() -> int:
    allowed = getattr(os, "sched_getaffinity", None)  # not everywhere
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _told(summary: Summary, output: Path) -> str:
    left_out = {
        "flat": summary.flat,
        "blurry": summary.blurry,
        "repeated": summary.copies,
        "photos too small": summary.small,
        "photos done before": summary.there,
    }
    rest = ", ".join(f"{what} {number}" for what, number in left_out.items() if number)
    line = f"{output}: {summary.train} crops for training, {summary.val} pairs for validation"
    return f"{line}; left out: {rest}" if rest else line
