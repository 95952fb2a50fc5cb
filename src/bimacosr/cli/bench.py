"""`bimacosr bench`: how fast the engine is beside others, on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from bimacosr.cli.report import Report
from bimacosr.config.bench import BenchSettings
from bimacosr.errors import BimacosrError, OptionError, WriteError

__all__ = ["bench"]


@click.command()
@click.argument("benchmark", type=click.Choice(["layers", "unet", "autoencoder", "pipeline"]))
@click.option(
    "--model",
    metavar="NAME|FILE",
    help="Whose layers, which student, or which packed model. [default: the official student, for"
    " pipeline the default model]",
)
@click.option(
    "--autoencoder",
    metavar="NAME|FILE",
    help="First stage of a packed student, for pipeline. [default: the released VQ-f4]",
)
@click.option(
    "--size",
    metavar="HxW",
    help="Of the low-quality picture, or of the latent. [default: 64x64, pipeline 128x128]",
)
@click.option("--threads", type=int, default=1, show_default=True, help="For every contestant.")
@click.option("--isa", metavar="NAME", help="Instruction set of our engine: amx, avx512, avx2...")
@click.option("--rounds", type=int, default=9, show_default=True, help="Each runs once in each.")
@click.option(
    "--budget",
    type=float,
    default=60,
    show_default=True,
    help="Seconds after which a contestant sits out the remaining rounds.",
)
@click.option("--peers", metavar="A,B,...", help="Only these. [default: all that are installed]")
@click.option(
    "--peers-dir",
    type=click.Path(path_type=Path),
    help="Folder with the .param and .bin files of Real-ESRGAN, for pipeline.",
)
@click.option("--memory/--no-memory", default=True, help="Also measure everybody's peak memory.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write everything there."
)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw it there: .png, .svg, .pdf.")
@click.option("-q", "--quiet", is_flag=True, help="No progress; the result only.")
def bench(
    benchmark: str,
    model: str | None,
    autoencoder: str | None,
    size: str | None,
    threads: int,
    isa: str | None,
    rounds: int,
    budget: float,
    peers: str | None,
    peers_dir: Path | None,
    memory: bool,
    json_file: Path | None,
    plot: Path | None,
    quiet: bool,
) -> None:
    """Measure our engine against others that are installed, in turns, in one run.

    layers: every distinct 1-bit layer of a network; unet: the whole student against float networks
    of its shape; autoencoder: VQ-f4's encoder and decoder, in float32 and, where the processor has
    AMX, in bfloat16; pipeline: a picture in memory to its enlargement in memory.
    """
    try:
        height, width = _sides(size)
        settings = BenchSettings(
            model=model,
            autoencoder=autoencoder,
            height=height,
            width=width,
            threads=threads,
            isa=isa,
            rounds=rounds,
            budget_s=budget,
            peers=None if peers is None else tuple(filter(None, peers.split(","))),
            peers_dir=peers_dir,
            memory=memory,
        )
        _measure_and_show(benchmark, settings, json_file, plot, quiet)
    except BimacosrError as error:
        Report().failed(str(error))
        sys.exit(1)


def _measure_and_show(
    benchmark: str, settings: BenchSettings, json_file: Path | None, plot: Path | None, quiet: bool
) -> None:
    # what only this command needs is not loaded for the others
    from bimacosr.bench.measure import measure
    from bimacosr.bench.plot import check_plot
    from bimacosr.bench.plot import plot as draw
    from bimacosr.bench.report import lines

    if plot is not None:
        check_plot(plot)
    for target in filter(None, (json_file, plot)):
        if not target.absolute().parent.is_dir():
            raise WriteError(f"{target} cannot be written; there is no folder for it")
    result = measure(
        benchmark,  # type: ignore[arg-type]
        settings,
        (lambda _: None) if quiet else (lambda line: click.echo(line, err=True)),
    )
    for line in lines(result):
        click.echo(line)
    if json_file is not None:
        try:
            json_file.write_text(json.dumps(result, indent=1) + "\n")
        except OSError as error:
            raise WriteError(f"{json_file} cannot be written ({error.strerror})") from error
    if plot is not None:
        draw(result, plot)


def _sides(size: str | None) -> tuple[int | None, int | None]:
    """Height and width of such as "64x64"."""
    if size is None:
        return None, None
    sides = size.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() for side in sides):
        raise OptionError(f"the size is {size!r}; give height and width, such as 64x64")
    return int(sides[0]), int(sides[1])
