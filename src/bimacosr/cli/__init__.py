"""The command line: arguments to settings, settings to one call."""

from __future__ import annotations

import sys
from io import TextIOWrapper

import click

from bimacosr import __version__
from bimacosr.cli.bench import bench
from bimacosr.cli.compare import compare
from bimacosr.cli.data import data
from bimacosr.cli.evaluate import evaluate
from bimacosr.cli.info import info
from bimacosr.cli.pack import pack
from bimacosr.cli.train import train
from bimacosr.cli.upscale import upscale
from bimacosr.cli.weights import weights

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bimacosr")
def main() -> None:
    """Make photographs four times larger with a 1-bit one-step diffusion model.

    Start with:  bimacosr upscale photo.jpg
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a name that the terminal cannot show is no failure
            stream.reconfigure(errors="backslashreplace")


main.add_command(upscale)
main.add_command(info)
main.add_command(weights)
main.add_command(pack)
main.add_command(bench)
main.add_command(evaluate)
main.add_command(compare)
main.add_command(train)
main.add_command(data)
