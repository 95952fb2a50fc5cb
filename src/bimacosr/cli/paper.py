"""The options of `bimacosr upscale` for networks of the paper family, as one group."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from bimacosr.config.upscale import SamplingSettings

__all__ = ["paper_options"]

_FILE = click.Path(path_type=Path)
_NAMES = (
    "weights",
    "autoencoder",
    "config",
    "method",
    "steps",
    "chain_steps",
    "chop_size",
    "tiling",
    "autoencoder_precision",
)
_OPTIONS = (
    click.option(
        "--weights",
        help="Instead of a model: a checkpoint (.pth, .safetensors) of ResShift, SinSR or a student"
        " of BiMaCoSR or a rival method, a packed student, or the name of a release.",
    ),
    click.option(
        "--autoencoder",
        help="First stage of --weights, or of a packed student: a checkpoint or a packed file."
        " [default: the release autoencoder_vq_f4]",
    ),
    click.option(
        "--config", type=_FILE, help="Official YAML of --weights. [default: told by the checkpoint]"
    ),
    click.option(
        "--method",
        help="Binarization of --weights without --config, where their keys do not tell: xnor, horq"
        " and reste look like float weights, reactnet like bbcu.",
    ),
    click.option(
        "--steps",
        type=int,
        help="How often the network of --weights is asked. [default: 1 for 1-bit students, for a"
        " --config that distils, and for the release SinSR_v1; else the whole chain]",
    ),
    click.option(
        "--one-step/--multi-step",
        default=None,
        help="One step (SinSR, students) or many (ResShift): they cannot be told apart by their"
        " float weights.",
    ),
    click.option(
        "--ddim", is_flag=True, help="With many steps: SinSR's deterministic sampler, not drawing."
    ),
    click.option(
        "--chain-steps",
        type=int,
        help="Length of the chain that --weights were trained on. [default: of --config, else 15]",
    ),
    click.option(
        "--chop-size",
        type=int,
        help="What the network of --weights sees at a time, input pixels."
        f" [default: {SamplingSettings().chop_size}]",
    ),
    click.option(
        "--tiling",
        help="feathered, or official: tiles, noise and averaging of the official scripts, for"
        " networks of the paper family. [default: feathered]",
    ),
    click.option(
        "--autoencoder-precision",
        help="fp32, or bf16: several times faster where the processor has AMX, and nearly the same"
        f" picture. [default: {SamplingSettings().autoencoder_precision}]",
    ),
)


def paper_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to `command`, which gets those that were given as one dict, `paper`.

    Its keys are arguments of `bimacosr.load`.
    """

    @wraps(command)
    def gathered(*, one_step: bool | None, ddim: bool, **options: Any) -> None:
        paper = {name: options.pop(name) for name in _NAMES}
        paper |= asked_sampling(paper["steps"], one_step, ddim)
        given = {name: value for name, value in paper.items() if value is not None}
        command(paper=given, **options)

    for option in reversed(_OPTIONS):
        gathered = option(gathered)
    return gathered


def asked_sampling(steps: int | None, one_step: bool | None, ddim: bool) -> dict[str, Any]:
    """The steps and the sampler that the three options mean.

    Raises:
        UsageError: they contradict each other.
    """
    sampler = "deterministic" if ddim else None
    if one_step:
        if steps not in (None, 1):
            raise click.UsageError(f"give either --one-step or --steps {steps}, not both")
        return {"steps": 1, "sampler": sampler}
    if one_step is False:
        if steps == 1:
            raise click.UsageError("give either --multi-step or --steps 1, not both")
        return {"steps": steps, "sampler": sampler or "ancestral"}
    return {"steps": steps, "sampler": sampler}
