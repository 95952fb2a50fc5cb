"""From a packed model to the PyTorch backend of its family."""

from __future__ import annotations

from pathlib import Path

from bimacosr.checkpoints.load import load_autoencoder
from bimacosr.config.upscale import SamplingSettings
from bimacosr.errors import ModelError, OptionError
from bimacosr.models.releases import VQ_F4, find_release
from bimacosr.pack.format import PackedModel
from bimacosr.pack.modules import rebuild_network
from bimacosr.pack.settings import restore_autoencoder, restore_diffusion, restore_unet
from bimacosr.reference.edge import TorchBackend
from bimacosr.reference.latent import LatentBackend
from bimacosr.reference.open import check_first_stage

__all__ = ["open_packed"]


def open_packed(
    model: PackedModel,
    device: str = "cpu",
    *,
    autoencoder: str | Path | None = None,
    sampling: SamplingSettings | None = None,
) -> TorchBackend | LatentBackend:
    """The backend of a packed model.

    Args:
        model: The packed model.
        device: What `torch.device` takes.
        autoencoder: First stage of a student of the paper family, a file or the name of a release;
            None is the one that the model names.
        sampling: How a student of the paper family samples.

    Raises:
        ModelError: the model's arrays do not fit its settings, or the autoencoder is missing.
        BackendError: the device is not there.
    """
    if model.family != "swin":
        return TorchBackend(model, device)
    network = rebuild_network(model)
    told = model.autoencoder or {}
    try:
        unet, diffusion = restore_unet(model.network), restore_diffusion(model.diffusion)
        settings = None
        if "settings" in told:
            settings = restore_autoencoder(told["settings"])
    except (TypeError, KeyError, ValueError, OptionError) as error:
        raise ModelError(f"the model {model.name!r} is damaged ({error})") from error
    file = find_release(autoencoder or str(told.get("release") or VQ_F4))
    first_stage = load_autoencoder(file, settings=settings)
    check_first_stage(unet, first_stage, first_stage.scale)
    return LatentBackend(
        network,
        first_stage,
        diffusion=diffusion,
        sampling=sampling or SamplingSettings(steps=None if model.step is None else 1),
        multiple=unet.latent_multiple,
        device=device,
    )
