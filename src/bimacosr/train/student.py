"""The second and third stage: a student that says in one step what its teacher says in all.

The float student of SinSR and the 1-bit student of BiMaCoSR are trained alike; they differ in
their network, in the terms of the distillation, and in their teacher, as the recipe says.

Source: Wang et al. 2023, SinSR, arXiv:2311.14760; BiMaCoSR, arXiv 2502.00333.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bimacosr.config.diffusion import DistillSettings
from bimacosr.config.train import PhaseSettings
from bimacosr.data.loading import Batch
from bimacosr.diffusion.losses import distillation_loss
from bimacosr.diffusion.samplers import Noise, find_sampler, one_step
from bimacosr.train.draws import StepDraws
from bimacosr.train.latents import Latents, LatentSpace
from bimacosr.train.picture_loss import PictureLoss
from bimacosr.train.pool import TeacherPool
from bimacosr.train.stage import StageLoss, weighted_sum

__all__ = ["StudentStage"]

AUXILIARY = 1000  # streams of the uncertainty term begin here, above every step of a chain's noise


class StudentStage:
    """Distils a teacher into a network that is asked once.

    Args:
        network: The student to train, float or 1-bit.
        teacher: The network to learn from; None where no phase gives `latent` a weight.
        space: Codec and chain, the teacher's and the student's.
        picture_loss: Terms on the picture of the predicted latent.
        settings: Terms of the distillation.
        pool: Where the teacher's results are kept; None computes them every time.
    """

    def __init__(
        self,
        network: nn.Module,
        teacher: nn.Module | None,
        space: LatentSpace,
        picture_loss: PictureLoss,
        settings: DistillSettings,
        pool: TeacherPool | None = None,
    ) -> None:
        self.network, self.teacher, self.pool = network, teacher, pool
        self.space, self.settings = space, settings
        self.picture_loss = picture_loss
        self.helpers: nn.Module = picture_loss.trained

    def loss(self, batch: Batch, draws: StepDraws, phase: PhaseSettings) -> StageLoss:
        """See `bimacosr.train.stage.Stage`."""
        latents = self.space.encode(batch.lq, batch.hq)
        denoise = self.space.condition(self.network, latents.lq)
        noise = noise_like(latents.z_y, draws)
        terms: dict[str, Tensor] = {}
        parts: dict[str, Tensor] = {}
        if phase.weights.latent:
            distilled = distillation_loss(
                denoise,
                self._taught(latents, noise, draws),
                self.space.process,
                self.settings,
                z_0=latents.z_0,
                z_y=latents.z_y,
                noise=noise,
                aux_noise=lambda i: draws.normal(latents.z_y, AUXILIARY + i),
                image_pm1=latents.hq,
                decode=self.space.codec.decode,
            )
            terms["latent"], z_0 = distilled.total.mean(), distilled.z_0
            parts = {n: t.mean() for n, t in distilled.terms.items() if n not in ("loss", "mse")}
        else:
            z_0 = one_step(denoise, latents.z_y, self.space.process, noise)
        if phase.weights.needs_picture:
            sr = self.space.picture(z_0)
            terms |= self.picture_loss.terms(sr, batch, phase, draws)
        return StageLoss(weighted_sum(terms, phase), terms | parts)

    @torch.no_grad()
    def result(self, network: nn.Module, batch: Batch, draws: StepDraws) -> Tensor:
        """See `bimacosr.train.stage.Stage`; one step."""
        latents = self.space.encode(batch.lq, batch.hq)
        denoise = self.space.condition(network, latents.lq)
        z_0 = one_step(denoise, latents.z_y, self.space.process, noise_like(latents.z_y, draws))
        return self.space.picture(z_0).clamp(0, 1)

    @torch.no_grad()
    def _taught(self, latents: Latents, noise: Noise, draws: StepDraws) -> Tensor:
        """The teacher's result for each sample, from the pool where it is there."""
        assert self.teacher is not None
        kept = self.pool.find(draws.samples) if self.pool else None
        if kept is not None:
            return kept.to(latents.z_y)
        teacher = self.space.condition(self.teacher, latents.lq)
        sampler = find_sampler(self.settings.teacher)
        taught = sampler(teacher, latents.z_y, self.space.process, noise)
        if self.pool:
            self.pool.keep(draws.samples, taught)
        return taught


def noise_like(z_y: Tensor, draws: StepDraws) -> Noise:
    """The noise of a sampler, a stream for each step, drawn once however often it is asked."""
    drawn: dict[int, Tensor] = {}

    def noise(t: int) -> Tensor:
        if t not in drawn:
            drawn[t] = draws.normal(z_y, t)
        return drawn[t]

    return noise
