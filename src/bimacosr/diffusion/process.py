"""The diffusion process: from clean to noisy, and one step back given a prediction of the clean.

The network is an argument (`Denoise`), with its condition, the low-quality picture, bound to it.

Shapes: B batch, C channels, H height, W width of a latent (default BCHW). z_0 is the clean latent,
z_y that of the enlarged low-quality picture, z_t the noisy one; t (B,) int64 are places in the
chain, 0 to T-1. Coefficients are gathered as float64 for float64 latents, else as float32.

Source: Yue et al. 2023, ResShift, arXiv:2307.12348, methodology; Wang et al. 2023, SinSR,
arXiv:2311.14760.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from bimacosr.config.diffusion import DiffusionSettings, PredictType
from bimacosr.diffusion.schedule import Schedule, Table, make_schedule
from bimacosr.errors import OptionError

__all__ = ["Denoise", "Process", "enlarge", "gather", "make_process"]

Denoise = Callable[[Tensor, Tensor], Tensor]
"""The network: (scaled latent BCHW, time steps (B,) int64) -> its prediction BCHW."""


def gather(table: Table, t: Tensor, like: Tensor) -> Tensor:
    """Coefficients at places `t`, (B, 1, 1, 1), on the device of `like`, float64 or float32."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    values = torch.from_numpy(table).to(t.device)[t]
    return values.to(device=like.device, dtype=dtype).reshape(-1, 1, 1, 1)


def enlarge(lq: Tensor, scale: int) -> Tensor:
    """The low-quality picture at full size, as the autoencoder gets it to make z_y.

    Args:
        lq: (B, C, H, W), any range.
        scale: Factor, 4 officially.

    Returns:
        (B, C, H * scale, W * scale), bicubic with a = -0.75 and no antialiasing, not clamped.
    """
    return F.interpolate(lq, scale_factor=float(scale), mode="bicubic", align_corners=False)


@dataclass(frozen=True, kw_only=True)
class Process:
    """The chain with what is fixed about its network."""

    schedule: Schedule
    """The coefficients."""

    predict_type: PredictType
    """What the network gives, see `DiffusionSettings`."""

    input_scale: Literal["latent", "pixel", "none"]
    """How the network's input is scaled, see `scale_input`."""

    clip: bool
    """Clamp each predicted z_0 to [-1, 1]."""

    @property
    def last(self) -> int:
        """The last place T-1 of the chain, where sampling starts."""
        return len(self.schedule) - 1

    def places(self, t: int, like: Tensor) -> Tensor:
        """The place `t` for each sample of the batch `like`."""
        return torch.full((like.shape[0],), t, dtype=torch.int64, device=like.device)

    def q_mean(self, z_0: Tensor, z_y: Tensor, t: Tensor) -> Tensor:
        """Mean of z_t: z_0 + eta_t (z_y - z_0) (ResShift, forward process)."""
        return z_0 + gather(self.schedule.etas, t, z_0) * (z_y - z_0)

    def q_sample(self, z_0: Tensor, z_y: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """z_t from standard normal `noise`: the mean plus kappa sqrt(eta_t) noise."""
        return self.q_mean(z_0, z_y, t) + self._noise_scale(t, z_0) * noise

    def prior_sample(self, z_y: Tensor, noise: Tensor) -> Tensor:
        """Where sampling starts: z_y + kappa sqrt(eta_(T-1)) noise."""
        return z_y + self._noise_scale(self.places(self.last, z_y), z_y) * noise

    def scale_input(self, z_t: Tensor, t: Tensor) -> Tensor:
        """What the network sees of z_t.

        A latent is divided by its std if the clean one has 1: sqrt(kappa^2 eta_t + 1); a picture by
        what bounds it, 3 kappa sqrt(eta_t) + 1; with "none" nothing is done.
        """
        if self.input_scale == "none":
            return z_t
        if self.input_scale == "pixel":
            return z_t / (3 * self._noise_scale(t, z_t) + 1)
        return z_t / torch.sqrt(gather(self.schedule.variance, t, z_t) + 1)

    def z_0_from_output(self, output: Tensor, z_t: Tensor, z_y: Tensor, t: Tensor) -> Tensor:
        """The clean latent that the network's `output` stands for, clamped if the process says."""
        z_0 = self._z_0_from_output(output, z_t, z_y, t)
        return z_0.clamp(-1, 1) if self.clip else z_0

    def predict_z_0(self, denoise: Denoise, z_t: Tensor, z_y: Tensor, t: Tensor) -> Tensor:
        """Ask the network for the clean latent of z_t at place `t`."""
        return self.z_0_from_output(self.run_network(denoise, z_t, t), z_t, z_y, t)

    def run_network(
        self, denoise: Denoise, z_t: Tensor, t: Tensor, at: int | None = None
    ) -> Tensor:
        """The network's raw output for z_t, its input scaled for place `t`.

        With `at`, the network is told that place instead (SinSR's inversion tells it 0).
        """
        told = t if at is None else self.places(at, z_t)
        steps = torch.tensor(self.schedule.network_steps, device=told.device)[told]
        return denoise(self.scale_input(z_t, t), steps)

    def posterior_mean(self, z_t: Tensor, z_0: Tensor, t: Tensor) -> Tensor:
        """Mean of z_(t-1) given z_t and z_0 (ResShift, reverse process)."""
        return (
            gather(self.schedule.posterior_z_t, t, z_t) * z_t
            + gather(self.schedule.posterior_z_0, t, z_t) * z_0
        )

    def posterior_sample(self, z_t: Tensor, z_0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """z_(t-1) from standard normal `noise`; at t = 0 the mean without noise."""
        std = gather(self.schedule.posterior_variance_clipped, t, z_t).sqrt()
        return self.posterior_mean(z_t, z_0, t) + (t > 0).reshape(-1, 1, 1, 1) * std * noise

    def deterministic_step(self, z_t: Tensor, z_0: Tensor, z_y: Tensor, t: Tensor) -> Tensor:
        """z_(t-1) = k z_0 + m z_t + j z_y (SinSR): the noise is kept, not drawn."""
        return (
            gather(self.schedule.deterministic_z_0, t, z_t) * z_0
            + gather(self.schedule.deterministic_z_t, t, z_t) * z_t
            + gather(self.schedule.deterministic_z_y, t, z_t) * z_y
        )

    def deterministic_inverse(self, z_prev: Tensor, z_0: Tensor, z_y: Tensor, t: Tensor) -> Tensor:
        """z_t of which `deterministic_step` makes `z_prev`; t >= 1 (at 0 all z_t give z_0)."""
        if bool((t < 1).any()):
            raise OptionError(
                "the deterministic step has no inverse at place 0; t must be 1 or above"
            )
        kept = (
            z_prev
            - gather(self.schedule.deterministic_z_0, t, z_prev) * z_0
            - gather(self.schedule.deterministic_z_y, t, z_prev) * z_y
        )
        return kept / gather(self.schedule.deterministic_z_t, t, z_prev)

    def _noise_scale(self, t: Tensor, like: Tensor) -> Tensor:
        return self.schedule.kappa * gather(self.schedule.sqrt_etas, t, like)

    def _z_0_from_output(self, output: Tensor, z_t: Tensor, z_y: Tensor, t: Tensor) -> Tensor:
        if self.predict_type == "xstart":
            return output
        if self.predict_type == "residual":
            return z_y - output
        noise = (
            output if self.predict_type == "epsilon_scale" else self._noise_scale(t, z_t) * output
        )
        eta = gather(self.schedule.etas, t, z_t)
        return (z_t - noise - eta * z_y) / (1 - eta)


def make_process(settings: DiffusionSettings) -> Process:
    """The process that `settings` describe.

    Raises:
        OptionError: the schedule's etas would not rise.
    """
    scale: Literal["latent", "pixel", "none"] = "latent" if settings.latent_flag else "pixel"
    return Process(
        schedule=make_schedule(settings),
        predict_type=settings.predict_type,
        input_scale=scale if settings.normalize_input else "none",
        clip=settings.clip,
    )
