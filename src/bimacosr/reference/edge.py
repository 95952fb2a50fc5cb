"""The PyTorch backend of packed models: readable, and the oracle of the native engine.

restore(tile) = decode(one_step(encode(bicubic of tile)))
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bimacosr import noise
from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.config.edge import EdgeSettings
from bimacosr.diffusion.process import Process, enlarge, make_process
from bimacosr.diffusion.samplers import one_step
from bimacosr.errors import ModelError, OptionError
from bimacosr.networks.pixel_codec import PixelCodec
from bimacosr.pack.format import PackedModel
from bimacosr.pack.modules import rebuild_network
from bimacosr.reference.device import open_device
from bimacosr.tiling import Feathered

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
    side_by_side = True
    trusted = True

    def __init__(self, model: PackedModel, device: str = "cpu") -> None:
        # oneDNN keeps what it prepared for every shape it ever saw, about 20 MB each
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
        self.device = open_device(device)
        self.network: nn.Module = rebuild_network(model).to(self.device)
        settings = EdgeSettings(**model.network)
        self.scale = settings.scale
        self.tiling = Feathered(margin=settings.receptive_radius)
        self.process = _open_process(model)
        self.codec = PixelCodec(settings.scale)

    def start_worker(self, threads: int) -> None:
        """One thread a tile: the order of every sum is then the same on any machine's cores."""
        torch.set_num_threads(1)

    @torch.inference_mode()
    def restore(self, lq: Plane, *, row: int, column: int, seed: int) -> Plane:
        """Enlarge a tile; see `bimacosr.upscale.Backend`."""
        photo = torch.from_numpy(np.ascontiguousarray(lq)).to(self.device)
        photo = photo.permute(2, 0, 1)[None] * 2 - 1
        z_y = self.codec.encode(enlarge(photo, self.scale))

        def denoise(z_scaled: Tensor, steps: Tensor) -> Tensor:
            predicted: Tensor = self.network(z_scaled, steps, photo)
            return predicted

        def plane(step: int) -> Tensor:
            return self._noise(z_y, row, column, seed, step)

        z_0 = one_step(denoise, z_y, self.process, plane)
        picture = self.codec.decode(z_0)[0].permute(1, 2, 0) * 0.5 + 0.5
        result: Plane = picture.float().cpu().numpy()
        return result

    def _noise(self, z_y: Tensor, row: int, column: int, seed: int, step: int) -> Tensor:
        """Standard normal numbers of the pixels of this tile; zeros where kappa is 0."""
        if self.process.schedule.kappa == 0:
            return torch.zeros_like(z_y)
        _, channels, height, width = z_y.shape
        rows, columns = range(row, row + height), range(column, column + width)
        drawn = noise.normal(seed, rows, columns, channels, stream=step)
        return torch.from_numpy(drawn)[None].to(z_y)


def _open_process(model: PackedModel) -> Process:
    try:
        return make_process(DiffusionSettings(**model.diffusion))
    except (TypeError, OptionError) as error:
        raise ModelError(
            f"the model {model.name!r} is damaged: its diffusion settings are wrong ({error})"
        ) from error
