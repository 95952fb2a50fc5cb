"""From the file of an autoencoder to the native one: a packed file needs no PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bimacosr.config.networks import AutoencoderSettings
from bimacosr.config.upscale import Precision
from bimacosr.engine.vq import NativeAutoencoder, StoredArrays
from bimacosr.errors import BackendError, ModelError
from bimacosr.models.releases import RELEASES, find_release
from bimacosr.pack.autoencoder import check_autoencoder
from bimacosr.pack.format import is_packed, locate_arrays, read_packed

__all__ = ["find_first_stage", "open_first_stage"]


def find_first_stage(name_or_path: str | Path) -> Path:
    """Path of an autoencoder: a file, or a release, packed beside its download if that is there.

    Raises:
        ModelError: there is no such file, or the release is not downloaded.
    """
    name = str(name_or_path)
    if name in RELEASES:
        packed = RELEASES[name].path.with_suffix(".safetensors")
        if packed.is_file():
            return packed
    return find_release(name_or_path)


def open_first_stage(
    path: Path,
    isa: str,
    expected: AutoencoderSettings | None = None,
    precision: Precision = "fp32",
) -> NativeAutoencoder:
    """The native autoencoder of a packed file, or of a checkpoint if PyTorch is there.

    Args:
        path: The file.
        isa: Instruction set, or auto.
        expected: The shape that the student was trained with; None takes any.
        precision: See `NativeAutoencoder`.

    Raises:
        ModelError: the file cannot be read, is something else, or has another shape.
        BackendError: it is a checkpoint, and PyTorch is not installed; or the instruction set does
            not multiply bfloat16.
    """
    state: dict[str, Any] | StoredArrays
    if is_packed(path):
        settings = check_autoencoder(read_packed(path))
        state = StoredArrays(path, locate_arrays(path))
    else:
        settings, state = _read_checkpoint(path)
    if expected is not None and settings != expected:
        raise ModelError(
            f"the autoencoder {path} has another shape than the model was trained with; give that"
            " autoencoder"
        )
    try:
        return NativeAutoencoder(settings, state, isa, precision=precision)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"the autoencoder {path} cannot be used ({error})") from error


def _read_checkpoint(path: Path) -> tuple[AutoencoderSettings, dict[str, Any]]:
    try:
        from bimacosr.checkpoints.detect import detect_autoencoder, kind_of
        from bimacosr.checkpoints.read import read_state
    except ImportError as error:
        raise BackendError(
            f"{path} is a checkpoint, which needs PyTorch to be read ({error}): pip install"
            " 'bimacosr[torch]', and once: bimacosr pack CHECKPOINT -o vq.safetensors"
        ) from error
    tensors = read_state(path)
    try:
        if kind_of(tensors) != "autoencoder":
            raise ModelError("it is a denoiser, not an autoencoder; give it as the weights")
        settings = detect_autoencoder(tensors)
    except ModelError as error:
        raise ModelError(f"{path} cannot be loaded: {error}") from error
    return settings, {name: tensor.contiguous().numpy() for name, tensor in tensors.items()}
