"""From a packed model, or a student's state dict, to the native backend of its family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bimacosr.config.binarize import BinarizeSettings
from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.config.networks import AutoencoderSettings, UNetSettings
from bimacosr.config.upscale import SamplingSettings
from bimacosr.diffusion.schedule import make_schedule
from bimacosr.engine.backend import NativeBackend
from bimacosr.engine.edge import METHODS
from bimacosr.engine.first_stage import find_first_stage, open_first_stage
from bimacosr.engine.latent import NativeLatentBackend
from bimacosr.engine.native import choose_instruction_set
from bimacosr.engine.unet import NativeUNet
from bimacosr.errors import ModelError, OptionError
from bimacosr.models.releases import VQ_F4
from bimacosr.pack.format import Array, PackedModel
from bimacosr.pack.settings import (
    restore_autoencoder,
    restore_binarization,
    restore_diffusion,
    restore_unet,
)

__all__ = ["Student", "open_packed", "open_student", "what_hinders", "what_hinders_packed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Student:
    """A student of the paper family, as the native engine runs it."""

    name: str
    """For messages."""

    settings: UNetSettings
    """Its shape."""

    state: Mapping[str, Array] = field(repr=False)
    """Its state dict, float32, or the arrays of its packed file."""

    diffusion: DiffusionSettings
    """The chain that it was trained on."""

    autoencoder: str | Path
    """First stage: a file, or the name of a release."""

    first_stage: AutoencoderSettings | None = None
    """The first stage's shape, where it is known."""

    scale: int | None = None
    """The enlargement, where it is told apart from the first stage's."""


def what_hinders(binarize: BinarizeSettings | None, sampling: SamplingSettings) -> str | None:
    """Why the native engine does not run weights of the paper family, or None.

    Args:
        binarize: How the layers became 1-bit; None is a float network.
        sampling: How it is to sample, the steps settled.
    """
    if binarize is None:
        return "runs 1-bit students, not float networks"
    if binarize.method != "bimacosr" or binarize.sign_of_zero:
        return f"runs BiMaCoSR's layers with sign(0) = 0, not those of {binarize.method}"
    if sampling.steps != 1 and sampling.sampler != "one_step":
        return "takes one step, not many"
    return None


def what_hinders_packed(model: PackedModel, sampling: SamplingSettings) -> str | None:
    """The same of a packed model; what is damaged hinders nothing here, `open_packed` names it."""
    if model.family == "edge":
        method = model.binarize.get("method", METHODS[0])
        return None if method in METHODS else f"runs {' and '.join(METHODS)}, not {method}"
    if model.family != "swin":
        return f"knows no models of family {model.family!r}"
    try:
        binarize = restore_binarization(model.binarize)
    except (TypeError, KeyError, ValueError):
        return None
    return what_hinders(binarize, sampling)


def open_packed(
    model: PackedModel,
    isa: str | None = None,
    *,
    autoencoder: str | Path | None = None,
    sampling: SamplingSettings | None = None,
) -> NativeBackend | NativeLatentBackend:
    """The native backend of a packed model.

    Args:
        model: The packed model.
        isa: See `NativeBackend`.
        autoencoder: First stage of a student of the paper family, a file or the name of a release;
            None is the one that the model names.
        sampling: How a student of the paper family samples.

    Raises:
        ModelError: the model's arrays do not fit its settings, or the engine does not have what it
            needs, or the autoencoder is missing or does not fit.
        OptionError: the engine does not sample in that way.
        BackendError: the engine is not installed, or the machine lacks the instruction set.
    """
    if model.family != "swin":
        return NativeBackend(model, isa)
    told = model.autoencoder
    try:
        settings, diffusion = restore_unet(model.network), restore_diffusion(model.diffusion)
        restore_binarization(model.binarize)
        first_stage = restore_autoencoder(told["settings"]) if "settings" in told else None
        step = make_schedule(diffusion).network_steps[-1]
    except (TypeError, KeyError, ValueError, OptionError) as error:
        raise ModelError(f"the model {model.name!r} is damaged ({error})") from error
    if model.step not in (None, step):
        raise ModelError(
            f"the model {model.name!r} is damaged (it knows time step {model.step}, but its chain"
            f" ends at {step})"
        )
    sampling = sampling or SamplingSettings(steps=None if model.step is None else 1)
    reason = what_hinders_packed(model, sampling)
    if reason is not None:
        raise OptionError(f"the native engine {reason}; use --backend torch")
    student = Student(
        name=model.name,
        settings=settings,
        state=model.tensors,
        diffusion=diffusion,
        autoencoder=autoencoder or str(told.get("release") or VQ_F4),
        first_stage=first_stage,
    )
    backend = open_student(student, sampling, isa)
    model.release_pages()
    return backend


def open_student(
    student: Student, sampling: SamplingSettings, isa: str | None = None
) -> NativeLatentBackend:
    """The native backend of a student that takes one step. Raises as `open_packed` does."""
    isa = choose_instruction_set(isa)
    step = make_schedule(student.diffusion).network_steps[-1]
    try:
        network = NativeUNet(student.settings, student.state, isa, step=step)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"the model {student.name!r} is damaged, or has what the native engine has not"
            f" ({error}); try --backend torch"
        ) from error
    path = find_first_stage(student.autoencoder)
    autoencoder = open_first_stage(path, isa, student.first_stage, sampling.autoencoder_precision)
    if student.scale not in (None, autoencoder.scale):
        raise ModelError(
            f"the autoencoder reduces pictures {autoencoder.scale} times, but the enlargement is"
            f" {student.scale}; both must be equal"
        )
    return NativeLatentBackend(network, autoencoder, diffusion=student.diffusion, sampling=sampling)
