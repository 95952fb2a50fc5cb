"""The PyTorch backend: readable, and the oracle of the native engine.

restore(tile) = decode(one_step(encode(bicubic of tile)))
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimacosr import noise
from bimacosr.config.edge import EdgeSettings
from bimacosr.errors import BackendError
from bimacosr.networks.pixel_codec import PixelCodec
from bimacosr.pack.format import PackedModel
from bimacosr.pack.modules import rebuild_network

__all__ = ["TorchBackend"]

Plane = npt.NDArray[np.float32]


class TorchBackend:
    """Runs a packed model in PyTorch, each tile on one thread, so that threads change nothing.

    Args:
        model: The packed model.
        device: What `torch.device` takes.

    Raises:
        BackendError: the device is not there.
        ModelError: the model's arrays do not fit its settings.
    """

    name = "torch"

    def __init__(self, model: PackedModel, device: str = "cpu") -> None:
        # oneDNN keeps what it prepared for every shape it ever saw, about 20 MB each
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
        self.device = _open_device(device)
        self.network: nn.Module = rebuild_network(model).to(self.device)
        settings = EdgeSettings(**model.network)
        self.scale = settings.scale
        self.margin = settings.receptive_radius
        self.kappa = float(model.diffusion["kappa"])
        self.sqrt_eta = float(model.diffusion["sqrt_eta"])
        self.codec = PixelCodec(settings.scale)

    def start_worker(self) -> None:
        """One thread a tile: the order of every sum is then the same on any machine's cores."""
        torch.set_num_threads(1)

    @torch.inference_mode()
    def restore(self, lq: Plane, *, row: int, column: int, seed: int) -> Plane:
        """Enlarge a tile; see `bimacosr.upscale.Backend`."""
        photo = torch.from_numpy(np.ascontiguousarray(lq)).to(self.device)
        photo = photo.permute(2, 0, 1)[None] * 2 - 1
        bicubic = F.interpolate(photo, scale_factor=self.scale, mode="bicubic", align_corners=False)
        z_y = self.codec.encode(bicubic)
        x_t = z_y + self._noise(z_y, row, column, seed)
        t = torch.zeros(1, device=self.device)
        z_0 = z_y - self.network(x_t, t, photo)
        picture = self.codec.decode(z_0)[0].permute(1, 2, 0) * 0.5 + 0.5
        result: Plane = picture.float().cpu().numpy()
        return result

    def _noise(self, z_y: Tensor, row: int, column: int, seed: int) -> Tensor | float:
        """``kappa sqrt(eta_T) noise`` of the pixels of this tile."""
        if self.kappa == 0:
            return 0.0
        _, channels, height, width = z_y.shape
        rows, columns = range(row, row + height), range(column, column + width)
        plane = torch.from_numpy(noise.normal(seed, rows, columns, channels))
        return self.kappa * self.sqrt_eta * plane[None].to(z_y)


def _open_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BackendError(
            f"PyTorch cannot use the device {name!r} ({reason}); choose cpu"
        ) from error
    return device
