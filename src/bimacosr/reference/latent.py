"""The PyTorch backend of the paper family: ResShift, SinSR and BiMaCoSR's students, with VQ-f4.

restore(tile) = decode(sample(encode(bicubic of tile)))

How pictures are cut is told in `bimacosr.tiling.latent`. Tiles never agree exactly where they
overlap; the noise is of the place in the picture, so that both sides of a joint start from the same
latent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bimacosr import noise
from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.config.upscale import SamplingSettings
from bimacosr.diffusion.process import enlarge, make_process
from bimacosr.diffusion.samplers import Sampler, find_sampler
from bimacosr.errors import LimitError, OptionError
from bimacosr.networks.vq import VQAutoencoder
from bimacosr.reference.device import memory_errors, open_device
from bimacosr.tiling.latent import latent_tiling, padded

__all__ = ["LatentBackend", "NoiseStream"]

Plane = npt.NDArray[np.float32]


class NoiseStream:
    """Normal numbers one after another, as from PyTorch's global generator seeded once.

    Args:
        device: Where they are drawn; the CPU and a GPU have streams of their own.
    """

    def __init__(self, device: torch.device) -> None:
        self.generator = torch.Generator(device)
        self.seed: int | None = None

    def take(self, like: Tensor, seed: int) -> Tensor:
        """The next numbers, shaped like `like`; another `seed` than before starts anew."""
        if seed != self.seed:
            self.generator.manual_seed(seed)
            self.seed = seed
        return torch.empty_like(like).normal_(generator=self.generator)


class LatentBackend:
    """Samples in the latent of an autoencoder; tiles one after another, each on all threads.

    The same picture comes out for the same number of threads on the same machine. Another number
    changes the order of sums, and with it rounding: of a float network not more than that, but in a
    1-bit one it may flip signs, and details with them.

    Args:
        network: Denoiser, called as (scaled latent, steps, low-quality picture in [-1, 1]).
        autoencoder: First stage; its scale is the enlargement.
        diffusion: The chain that the network was trained on.
        sampling: How to sample and to cut pictures; its `chain_steps` are not looked at.
        multiple: Height and width of a latent must be multiples of this.
        device: What `torch.device` takes.

    Raises:
        BackendError: the device is not there.
        OptionError: there are more steps than the chain has.
    """

    name = "torch"
    side_by_side = False
    trusted = False

    def __init__(
        self,
        network: nn.Module,
        autoencoder: VQAutoencoder,
        *,
        diffusion: DiffusionSettings,
        sampling: SamplingSettings,
        multiple: int,
        device: str = "cpu",
    ) -> None:
        self.device = open_device(device)
        self.network = network.to(self.device).eval()
        self.autoencoder = autoencoder.to(self.device).eval()
        self.scale = autoencoder.scale
        self.multiple = multiple
        self.sample, self.spare_draws = choose_sampler(sampling)
        self.process = make_process(spaced(diffusion, sampling.steps))
        self.rounded = sampling.autoencoder_precision == "bf16"
        self.tiling = latent_tiling(sampling, multiple)
        official = sampling.tiling == "official"
        self.stream = NoiseStream(self.device) if official else None
        self._alone = threading.Lock()

    def start_worker(self, threads: int) -> None:
        """All threads work on one tile, which needs the memory of one."""
        torch.set_num_threads(threads)

    def restore(self, lq: Plane, *, row: int, column: int, seed: int) -> Plane:
        """Enlarge a tile; see `bimacosr.upscale.Backend`.

        Raises:
            LimitError: it does not fit in memory.
        """
        try:
            with memory_errors():
                return self._restore(lq, row, column, seed)
        except MemoryError as error:
            raise LimitError(
                f"a tile of {lq.shape[1]}x{lq.shape[0]} pixels does not fit in memory; choose a"
                " smaller --chop-size (in Python: chop_size)"
            ) from error

    @torch.inference_mode()
    def _restore(self, lq: Plane, row: int, column: int, seed: int) -> Plane:
        height, width = (side * self.scale for side in lq.shape[:2])
        photo = torch.from_numpy(padded(lq, self.multiple)).to(self.device)
        photo = photo.permute(2, 0, 1)[None] * 2 - 1

        def denoise(z_scaled: Tensor, steps: Tensor) -> Tensor:
            predicted: Tensor = self.network(z_scaled, steps, photo)
            return predicted

        with self._alone:
            with self._rounding():
                z_y = self.autoencoder.encode(enlarge(photo, self.scale)).to(photo)
            draw = self._noise(z_y, row, column, seed)
            z_0 = self.sample(denoise, z_y, self.process, draw)
            if self.stream is not None:
                for _ in range(self.spare_draws):
                    self.stream.take(z_y, seed)
            picture = self._decode(z_0)
        picture = picture[0, :, :height, :width].permute(1, 2, 0) * 0.5 + 0.5
        result: Plane = picture.float().cpu().numpy()
        return result

    def _decode(self, z_0: Tensor) -> Tensor:
        """The picture of a latent; the nearest codes are found in float32 always."""
        if not self.rounded:
            return self.autoencoder.decode(z_0)
        codes = self.autoencoder.quantize(z_0).z
        with self._rounding():
            return self.autoencoder.decode(codes, quantize=False)

    def _rounding(self) -> torch.autocast:
        """Where products are of bfloat16, if they may be."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.rounded)

    def _noise(self, z_y: Tensor, row: int, column: int, seed: int) -> Callable[[int], Tensor]:
        """The noise of each step: of the place, or from the stream in the order of asking."""
        stream = self.stream
        if stream is not None:
            return lambda step: stream.take(z_y, seed)
        _, channels, height, width = z_y.shape
        rows, columns = range(row, row + height), range(column, column + width)

        def of_place(step: int) -> Tensor:
            drawn = noise.normal(seed, rows, columns, channels, stream=step)
            return torch.from_numpy(drawn)[None].to(z_y)

        return of_place


def choose_sampler(sampling: SamplingSettings) -> tuple[Sampler, int]:
    """The sampler, and how many draws the official one throws away after each tile.

    The official ancestral sampler also draws noise at the end of the chain, where it has no effect,
    and draws it after a single step, too.
    """
    one_step = sampling.steps == 1 or sampling.sampler == "one_step"
    name = "one_step" if one_step else sampling.sampler or "ancestral"
    return find_sampler(name), 0 if sampling.sampler == "deterministic" else 1


def spaced(diffusion: DiffusionSettings, steps: int | None) -> DiffusionSettings:
    """The chain with only so many `steps`; for one step and for None it is left as it is.

    Raises:
        OptionError: the chain is shorter.
    """
    if steps is None or steps == 1:
        return diffusion
    if steps > diffusion.steps:
        raise OptionError(
            f"steps is {steps}, but the chain of these weights has {diffusion.steps}; if they were"
            " trained on a longer one, say so with chain_steps"
        )
    return replace(diffusion, timestep_respacing=None if steps == diffusion.steps else steps)
