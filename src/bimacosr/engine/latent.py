"""The native backend of the paper family: BiMaCoSR's students in one step, with VQ-f4.

restore(tile) = decode(one_step(encode(bicubic of tile)))

The same way as that of `bimacosr.reference.latent`, by numpy and the native networks.
"""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from bimacosr import noise
from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.config.upscale import SamplingSettings
from bimacosr.diffusion.schedule import make_schedule
from bimacosr.engine.enlarge import enlarge
from bimacosr.engine.native import open_native
from bimacosr.engine.noise_stream import NoiseStream
from bimacosr.engine.unet import NativeUNet
from bimacosr.engine.vq import NativeAutoencoder
from bimacosr.errors import LimitError, ModelError
from bimacosr.tiling.latent import latent_tiling, padded

__all__ = ["NativeLatentBackend"]

Plane = npt.NDArray[np.float32]


class NativeLatentBackend:
    """One step in the latent of an autoencoder; the same bits for any number of threads.

    Tiles follow one after another, each on all threads: maps of a tile take most of the memory, and
    are there only while it is worked on.

    Args:
        network: The student, at the last time step of its chain.
        autoencoder: First stage; its scale is the enlargement.
        diffusion: The chain that the student was trained on.
        sampling: How pictures are cut; it is one step whatever it says.

    Raises:
        ModelError: student and autoencoder do not fit each other.
    """

    name = "native"
    side_by_side = False
    trusted = False

    def __init__(
        self,
        network: NativeUNet,
        autoencoder: NativeAutoencoder,
        *,
        diffusion: DiffusionSettings,
        sampling: SamplingSettings,
    ) -> None:
        _check_first_stage(network, autoencoder)
        self.network, self.autoencoder = network, autoencoder
        self.isa = network.isa
        self.scale = autoencoder.scale
        self.multiple = network.settings.latent_multiple
        self.tiling = latent_tiling(sampling, self.multiple)
        self.step = OneStep(diffusion)
        self.stream = NoiseStream() if sampling.tiling == "official" else None
        # the official sampler of a chain draws once more, in vain; the deterministic one does not
        self.spare_draws = 0 if sampling.sampler == "deterministic" else 1
        self._local = threading.local()

    def start_worker(self, threads: int) -> None:
        """Let this thread's tiles be worked on by `threads` threads."""
        self._local.threads = threads

    def restore(self, lq: Plane, *, row: int, column: int, seed: int) -> Plane:
        """Enlarge a tile; see `bimacosr.upscale.Backend`.

        Raises:
            LimitError: it does not fit in memory.
            ModelError: the file of the autoencoder cannot be read any more.
        """
        try:
            return self._restore(lq, row, column, seed)
        except MemoryError as error:
            raise LimitError(
                f"a tile of {lq.shape[1]}x{lq.shape[0]} pixels does not fit in memory; choose a"
                " smaller --chop-size (in Python: chop_size)"
            ) from error

    def _restore(self, lq: Plane, row: int, column: int, seed: int) -> Plane:
        native, threads = open_native(), getattr(self._local, "threads", 1)
        height, width = (side * self.scale for side in lq.shape[:2])
        photo = padded(lq, self.multiple) * np.float32(2) - np.float32(1)
        memory = native.VqMemory(threads)
        z_y = self.autoencoder.encode(_planes(enlarge(photo, self.scale)), memory)
        z_t = self.step.start(z_y, self._noise(z_y.shape, row, column, seed))
        scaled = z_t / self.step.spread
        output = self.network(scaled, _planes(photo), native.UnetMemory(threads))
        z_0 = self.step.z_0(output, z_t, z_y)
        picture = self.autoencoder.decode(z_0, memory)
        picture = picture[0, :, :height, :width].transpose(1, 2, 0)
        return np.ascontiguousarray(picture * np.float32(0.5) + np.float32(0.5))

    def _noise(self, shape: tuple[int, ...], row: int, column: int, seed: int) -> Plane:
        """The noise of the start: of the place, or the stream's next."""
        if self.stream is not None:
            return self.stream.take(shape, seed, spare=self.spare_draws)
        _, channels, height, width = shape
        rows, columns = range(row, row + height), range(column, column + width)
        return noise.normal(seed, rows, columns, channels, stream=self.step.stream)[None]


class OneStep:
    """What the chain makes of a latent before and after the network; see `diffusion.process`.

    Shapes: all latents are BCHW float32.

    Args:
        settings: The chain; its last place is where the network is asked.
    """

    def __init__(self, settings: DiffusionSettings) -> None:
        schedule = make_schedule(settings)
        self.stream = len(schedule)
        self.noise_scale = np.float32(schedule.kappa) * np.float32(schedule.sqrt_etas[-1])
        self.eta = np.float32(schedule.etas[-1])
        self.predict_type, self.clip = settings.predict_type, settings.clip
        self.spread = np.float32(1)
        """What z_t is divided by for the network."""
        if settings.normalize_input and settings.latent_flag:
            self.spread = np.sqrt(np.float32(schedule.variance[-1]) + np.float32(1))
        elif settings.normalize_input:
            self.spread = 3 * self.noise_scale + np.float32(1)

    def start(self, z_y: Plane, noise: Plane) -> Plane:
        """z_t at the end of the chain: z_y + kappa sqrt(eta) noise."""
        z_t: Plane = z_y + self.noise_scale * noise
        return z_t

    def z_0(self, output: Plane, z_t: Plane, z_y: Plane) -> Plane:
        """The clean latent that the network's `output` stands for."""
        if self.predict_type == "xstart":
            z_0 = output
        elif self.predict_type == "residual":
            z_0 = z_y - output
        else:
            scaled = self.predict_type == "epsilon_scale"
            drawn = output if scaled else self.noise_scale * output
            z_0 = (z_t - drawn - self.eta * z_y) / (1 - self.eta)
        clean: Plane = np.clip(z_0, -1, 1) if self.clip else z_0
        return clean


def _planes(image: Plane) -> Plane:
    """H x W x C as (1, C, H, W)."""
    return np.ascontiguousarray(image.transpose(2, 0, 1))[None]


def _check_first_stage(network: NativeUNet, autoencoder: NativeAutoencoder) -> None:
    channels, latent = network.settings.in_channels, network.settings.out_channels
    if autoencoder.embed_dim != latent or autoencoder.in_channels + latent != channels:
        raise ModelError(
            f"the autoencoder has latents of {autoencoder.embed_dim} channels and pictures of"
            f" {autoencoder.in_channels}, but the weights are for {latent} and"
            f" {channels - latent}; give the autoencoder that they were trained with"
        )
