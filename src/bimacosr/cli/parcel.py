"""`bimacosr train parcel`: a training in one file for another machine, and its result home."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bimacosr.cli.recipe_options import (
    chosen_recipe,
    in_sentences,
    need_torch,
    recipe_options,
    student_options,
)
from bimacosr.io.failures import shown

__all__ = ["parcel"]

_PATH = click.Path(path_type=Path)


@click.group()
def parcel() -> None:
    """Train on another machine: all it needs in one file of at most 64 MiB.

    \b
        bimacosr train parcel make --recipe r.yaml --photos crops --run runs/teacher -o parcel.tar
        (there)  tar -xf parcel.tar && python run.py --max-minutes 9
        bimacosr train parcel unpack result.tar -o runs/teacher
    """


@parcel.command()
@student_options(one_bit=True)
@recipe_options
@click.option("--run", type=_PATH, required=True, help="Folder of the run, to go on with or new.")
@click.option("-o", "--output", type=_PATH, required=True, help="Archive to write.")
@in_sentences
def make(run: Path, output: Path, **options: Any) -> None:
    """Put code, photos, recipe, weights and the newest checkpoint into one archive."""
    need_torch()
    from bimacosr.train.parcel import make_parcel

    size = make_parcel(chosen_recipe(None, **options), run, output)
    click.echo(shown(f"{output}: {size / 2**20:.1f} MiB; run it by: python run.py --max-minutes 9"))


@parcel.command()
@click.argument("archive", type=_PATH, metavar="RESULT")
@click.option("-o", "--output", "run", type=_PATH, required=True, help="Folder of the run.")
@in_sentences
def unpack(archive: Path, run: Path) -> None:
    """Bring the RESULT of a parcel home; --resume auto and `parcel make` go on from it."""
    need_torch()
    from bimacosr.train.parcel import unpack_parcel

    click.echo(shown(f"{run}: {unpack_parcel(archive, run).name}"))
