"""From files of the paper family to a backend: which autoencoder, which chain, how many steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from bimacosr.binarize.registry import find_method
from bimacosr.checkpoints.detect import detect_binarization
from bimacosr.checkpoints.load import LoadedUNet, load_autoencoder, load_unet
from bimacosr.checkpoints.official import OfficialConfig, read_config
from bimacosr.checkpoints.read import read_state
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.config.networks import UNetSettings
from bimacosr.config.upscale import SamplingSettings
from bimacosr.errors import ModelError, OptionError
from bimacosr.models.releases import VQ_F4, find_release
from bimacosr.networks.vq import VQAutoencoder
from bimacosr.reference.latent import LatentBackend

__all__ = [
    "LatentModel",
    "WeightFiles",
    "check_first_stage",
    "open_latent",
    "read_latent",
]

ONE_STEP_RELEASE, MANY_STEPS_RELEASE = "SinSR_v1", "resshift_realsrx4_s15_v1"
"""The two released float networks, which nothing but their names tells apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightFiles:
    """What the user named."""

    weights: str | Path
    """UNet: a checkpoint, or the name of a release."""

    autoencoder: str | Path | None = None
    """First stage: a checkpoint, or the name of a release; None is the released VQ-f4."""

    config: str | Path | None = None
    """An official YAML configuration; None: what the checkpoint itself shows, and ResShift's chain
    of 15 steps."""

    method: str | None = None
    """Method of a student without configuration, where its keys do not tell: those of XNOR, HORQ
    and ReSTE are those of a float network, and ReActNet's are BBCU's."""


class LatentModel(NamedTuple):
    """What `read_latent` gives."""

    path: Path
    """File of the denoiser."""

    unet: LoadedUNet
    """The denoiser."""

    first_stage: str | Path
    """The autoencoder: a file, or the name of a release."""

    config: OfficialConfig | None
    """What the user's configuration says."""

    diffusion: DiffusionSettings
    """The chain."""

    sampling: SamplingSettings
    """How to sample, the number of steps settled."""

    notices: tuple[str, ...]
    """What was assumed or passed over, a sentence each."""


def read_latent(files: WeightFiles, sampling: SamplingSettings) -> LatentModel:
    """Read weights of the paper family: ResShift, SinSR, or a student of any method.

    Raises:
        ModelError: a file is missing, damaged, or does not fit the configuration.
        OptionError: the configuration is wrong, or the settings contradict it.
    """
    config = None if files.config is None else open_config(files)
    path = find_release(files.weights)
    unet = load_unet(
        path,
        settings=None if config is None else config.unet,
        binarize=told_binarization(files, config, path),
    )
    sampling, notices = with_steps(sampling, path, unet, config)
    if config is not None and config.unknown:
        names = ", ".join(config.unknown)
        notices = (f"{files.config} has settings that are not known here: {names}", *notices)
    return LatentModel(
        path=path,
        unet=unet,
        first_stage=files.autoencoder or VQ_F4,
        config=config,
        diffusion=chain(config, sampling),
        sampling=sampling,
        notices=notices,
    )


def open_latent(model: LatentModel, device: str = "cpu") -> LatentBackend:
    """The backend of weights of the paper family.

    Raises:
        ModelError: the autoencoder is missing, damaged, or does not fit.
        BackendError: the device is not there.
    """
    config = model.config
    autoencoder = load_autoencoder(
        find_release(model.first_stage), settings=None if config is None else config.autoencoder
    )
    scale = autoencoder.scale if config is None else config.scale
    check_first_stage(model.unet.settings, autoencoder, scale)
    return LatentBackend(
        model.unet.network,
        autoencoder,
        diffusion=model.diffusion,
        sampling=model.sampling,
        multiple=model.unet.settings.latent_multiple,
        device=device,
    )


def open_config(files: WeightFiles) -> OfficialConfig:
    """The configuration that the user named.

    Raises:
        OptionError: it cannot be read, has no autoencoder, or the user named a method, too.
    """
    assert files.config is not None
    if files.method is not None:
        raise OptionError("the configuration says which method it is; leave out the method")
    config = read_config(Path(files.config))
    if config.autoencoder is None:
        raise OptionError(
            f"{files.config} describes a network without autoencoder, on pixels; only those in the"
            " latent of an autoencoder can be run"
        )
    return config


def told_binarization(
    files: WeightFiles, config: OfficialConfig | None, path: Path
) -> BinarizeSettings | None:
    """How the student's layers are 1-bit, as far as the user told it.

    Where only the method is told, its layers are those that the checkpoint shows, or else those of
    the official configurations: all but the first and the last convolution.
    """
    if config is not None:
        return config.binarize
    if files.method is None:
        return None
    find_method(files.method)
    seen = detect_binarization(read_state(path), files.method)
    rule = KeepFloatRule(keywords=("input_blocks.0.0", "out.2"))
    return seen or BinarizeSettings(method=files.method, keep_float_conv=(rule,))


def check_first_stage(unet: UNetSettings, autoencoder: VQAutoencoder, scale: int) -> None:
    """Refuse an autoencoder whose latents the network does not take.

    Raises:
        ModelError: they have other channels, or are not of the size of the low-quality picture.
    """
    if autoencoder.embed_dim != unet.out_channels:
        raise ModelError(
            f"the autoencoder's latent has {autoencoder.embed_dim} channels, but the weights are"
            f" for {unet.out_channels}; give the autoencoder that they were trained with"
        )
    if unet.in_channels != unet.out_channels + autoencoder.in_channels:
        raise ModelError(
            f"the weights take {unet.in_channels} channels, which is more than a latent of"
            f" {unet.out_channels} and a picture of {autoencoder.in_channels}; those for inpainting"
            " cannot be run here"
        )
    if autoencoder.scale != scale:
        raise ModelError(
            f"the autoencoder reduces pictures {autoencoder.scale} times, but the enlargement is"
            f" {scale}; both must be equal"
        )


def chain(config: OfficialConfig | None, sampling: SamplingSettings) -> DiffusionSettings:
    """The chain that the weights were trained on."""
    diffusion = DiffusionSettings() if config is None else config.diffusion
    if sampling.chain_steps is not None:
        diffusion = replace(diffusion, steps=sampling.chain_steps)
    return diffusion


def with_steps(
    sampling: SamplingSettings, path: Path, unet: LoadedUNet, config: OfficialConfig | None
) -> tuple[SamplingSettings, tuple[str, ...]]:
    """Settle one step or many where the user said nothing.

    ResShift's network and SinSR's are the same, key by key: only their use differs. So one step is
    taken for a 1-bit student, a configuration of a distillation, and the released SinSR; else it is
    the whole chain, and the user is told.
    """
    if sampling.steps is not None or sampling.sampler is not None:
        return sampling, ()
    distilled = config is not None and config.distill is not None
    if unet.binarize is not None or distilled or path.stem == ONE_STEP_RELEASE:
        return replace(sampling, steps=1), ()
    if config is not None or path.stem == MANY_STEPS_RELEASE:
        return sampling, ()
    steps = chain(config, sampling).steps
    return sampling, (
        f"{path.name} may be ResShift or SinSR, which look alike: taking {steps} steps; for SinSR"
        " give --one-step (in Python: steps=1)",
    )
