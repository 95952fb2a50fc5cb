"""Read the tensors of a checkpoint file, whatever it is wrapped in, without running its code.

Source of the wrappings: the trainers of ResShift, SinSR and BiMaCoSR.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bimacosr.checkpoints.keys import strip_prefixes
from bimacosr.errors import ModelError

__all__ = ["read_state"]

_MAX_BYTES = 8 << 30
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a checkpoint file.

    Args:
        path: A .pth, .pt or .ckpt of PyTorch (read by `weights_only`: it cannot run code), or a
            .safetensors; its content decides, not its name. The state dict may be bare (as EMA
            files are) or under "state_dict" or "average", its keys with or without "module." and
            "_orig_mod.".

    Returns:
        Keys as the network names them; floating-point tensors in float32 on the CPU. Tensors that
        were float32 stay mapped to the file where its format allows it, so leave the file alone
        while they are in use.

    Raises:
        ModelError: the file is missing, damaged, no checkpoint, or holds anything but numbers.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
            size = file.seek(0, 2)
    except OSError as error:
        raise ModelError(
            f"the checkpoint {path} cannot be read: {error.strerror or error}"
        ) from error
    if not size:
        raise ModelError(f"the checkpoint {path} is empty; get the file again")
    if size > _MAX_BYTES:
        raise ModelError(f"{path} has {size} bytes; a checkpoint has at most {_MAX_BYTES}")
    if start.startswith(_ZIP):
        content = _read_zip(path, size)
    elif path.suffix == ".safetensors" or start[8:9] == b"{":
        content = _read_safetensors(path)
    elif start.startswith(_PICKLE):
        content = _read_pickle(path, mapped=False)
    else:
        raise ModelError(
            f"{path} is no checkpoint (it begins with {start!r}); it must be a file of PyTorch or"
            " safetensors"
        )
    try:
        state = strip_prefixes(_unwrap(content))
        return {key: _checked(key, tensor) for key, tensor in state.items()}
    except ModelError as error:
        raise ModelError(f"{path} cannot be used: {error}") from error


def _read_zip(path: Path, size: int) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > size:  # torch.save never compresses
                raise ModelError(
                    f"{path} is no checkpoint of PyTorch: {size} bytes unpack to {unpacked} bytes"
                )
            # PyTorch looks at no checksum; it can be told to write none, which are zeros
            summed = any(entry.CRC for entry in entries)
            damaged = archive.testzip() if summed else None
    except ModelError:
        raise
    except Exception as error:  # a damaged archive can fail in any way
        raise ModelError(f"the checkpoint {path} is cut short or damaged; get it again") from error
    if damaged is not None:
        raise ModelError(
            f"the checkpoint {path} is damaged (the checksum of {damaged} differs); get it again"
        )
    return _read_pickle(path, mapped=True)


def _read_pickle(path: Path, *, mapped: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd pickles are told about; they are read or refused
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found is None:
            raise ModelError(
                f"the checkpoint {path} is damaged, or holds more than weights; get it again"
            ) from error
        raise ModelError(
            f"{path} is refused: it asks for {found[1]}, and loading that would run code of the"
            " file; a checkpoint of weights alone needs no such thing"
        ) from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise ModelError(
            f"the checkpoint {path} is cut short or damaged ({type(error).__name__}); get it again"
        ) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ModelError(
            f"the checkpoint {path} is cut short or damaged ({error}); get it again"
        ) from error


def _unwrap(content: Any) -> dict[str, Tensor]:
    """The state dict itself, out of what the trainers save around it."""
    for place in ("state_dict", "average"):  # the official trainers; scripts/train_edge.py
        if isinstance(content, Mapping) and isinstance(content.get(place), Mapping):
            content = content[place]
    if not isinstance(content, Mapping):
        raise ModelError(f"it holds a {type(content).__name__}, not a state dict")
    if not any(isinstance(value, Tensor) for value in content.values()):
        raise ModelError("it holds no tensors; a state dict, bare or as 'state_dict', is needed")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ModelError(
                f"its entry {key!r} is a {type(value).__name__}; a state dict holds tensors only"
            )
    return dict(content)


def _checked(key: str, tensor: Tensor) -> Tensor:
    """The tensor as an ordinary one of float32 or whole numbers; every number is finite."""
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not plain or tensor.is_quantized or tensor.is_complex():
        raise ModelError(f"{key} is no ordinary array of real numbers")
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        raise ModelError(f"{key} claims more numbers than the file holds")
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.detach().float()
    if not tensor.isfinite().all():
        raise ModelError(f"{key} holds NaN or infinity; the training of this checkpoint failed")
    return tensor
