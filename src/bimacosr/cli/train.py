"""`bimacosr train`: the three stages, each by one recipe, and what comes before and after them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bimacosr.cli.parcel import parcel
from bimacosr.cli.recipe_options import (
    chosen_recipe,
    in_sentences,
    need_torch,
    recipe_options,
    student_options,
)
from bimacosr.io.failures import shown

if TYPE_CHECKING:
    from bimacosr.config.train import Stage

__all__ = ["train"]

_PATH = click.Path(path_type=Path)

_COURSE = (
    click.option(
        "-o",
        "--output",
        "--save_dir",
        "run",
        type=_PATH,
        required=True,
        help="Folder of the run: checkpoints, log.jsonl, samples, TensorBoard.",
    ),
    click.option(
        "--resume",
        help="'auto': go on from the newest checkpoint of the folder, if there is one; or a"
        " checkpoint.",
    ),
    click.option("--max-minutes", type=float, help="Save and stop after this long."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda."),
    click.option("--threads", type=click.IntRange(1), help="Threads of PyTorch on the processor."),
    click.option(
        "--loaders",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Threads that make batches.",
    ),
)


def course_options(command: Callable[..., None]) -> Callable[..., None]:
    """Where and how long a stage runs."""
    for option in reversed(_COURSE):
        command = option(command)
    return recipe_options(command)


@click.group()
def train() -> None:
    """Train a model: teacher, one-step student, 1-bit student.

    Each stage goes on where the one before ended:

    \b
        bimacosr train teacher --recipe teacher.yaml --photos crops -o runs/teacher
        bimacosr train distill --recipe distill.yaml --photos crops \\
            --teacher runs/teacher -o runs/student
        bimacosr train binarize --recipe binarize.yaml --photos crops \\
            --teacher runs/teacher --start runs/student -o runs/one-bit
        bimacosr train export runs/one-bit -o model.safetensors

    Several GPUs: torchrun --nproc-per-node 4 -m bimacosr train teacher ...
    """


@train.command()
@course_options
@in_sentences
def teacher(**options: Any) -> None:
    """Train the many-step teacher (ResShift)."""
    _train("teacher", **options)


@train.command()
@student_options(one_bit=False)
@course_options
@in_sentences
def distill(**options: Any) -> None:
    """Train a float student that takes one step (SinSR)."""
    _train("distill", **options)


@train.command()
@student_options(one_bit=True)
@course_options
@in_sentences
def binarize(method: str | None, **options: Any) -> None:
    """Train the 1-bit student of a float one (BiMaCoSR, or another method)."""
    _train("binarize", method=method, **options)


@train.command()
@click.argument("checkpoint", type=_PATH, metavar="RUN|CHECKPOINT")
@click.option("-o", "--output", type=_PATH, required=True, help="Packed file to write.")
@click.option("--name", help="Name of the model.  [default: that of the file to write]")
@click.option(
    "--license",
    "license_name",
    default="NOASSERTION",
    show_default=True,
    help="Licence of the weights, as an SPDX identifier.",
)
@click.option(
    "--residual-gain",
    type=float,
    default=1.0,
    show_default=True,
    help="Factor on what an edge network adds to the bicubic picture; below 1 is gentler.",
)
@click.option(
    "--fact",
    "facts",
    multiple=True,
    metavar="NAME=TEXT",
    help="A fact that `bimacosr info` shows; again for more.",
)
@in_sentences
def export(
    checkpoint: Path, output: Path, name: str | None, facts: tuple[str, ...], **options: Any
) -> None:
    """Pack the averaged weights of a 1-bit student for `bimacosr upscale`."""
    need_torch()
    from bimacosr.pack.format import write_packed
    from bimacosr.train.export import packed_student
    from bimacosr.train.weights import open_weights

    told = dict(fact.partition("=")[::2] for fact in facts)
    model = packed_student(
        open_weights(str(checkpoint)), name=name or output.stem, facts=told, **options
    )
    write_packed(output, model)
    click.echo(shown(f"{output}: {output.stat().st_size:,} bytes, {model.name}"))


def _train(
    stage: Stage,
    *,
    run: Path,
    resume: str | None,
    max_minutes: float | None,
    device: str,
    threads: int | None,
    loaders: int,
    **options: Any,
) -> None:
    need_torch()
    import torch

    from bimacosr.train.run import run_training

    if threads is not None:
        torch.set_num_threads(threads)
    recipe = chosen_recipe(stage, **options)
    outcome = run_training(
        recipe,
        run,
        device=device,
        resume=resume,
        max_minutes=max_minutes,
        loaders=loaders,
        notice=lambda text: click.echo(shown(text), err=True),
    )
    if outcome.leads and outcome.finished:
        click.echo(shown(f"{run}: step {outcome.step} of {outcome.steps}, finished"))
    elif outcome.leads:
        click.echo(
            shown(f"{run}: stopped at step {outcome.step} of {outcome.steps}; --resume auto")
        )


train.add_command(parcel)
