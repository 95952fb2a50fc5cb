"""The first stage: ResShift's network, which walks the chain in many steps.

Source: Yue et al. 2023, ResShift, arXiv:2307.12348.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bimacosr.config.train import PhaseSettings
from bimacosr.data.loading import Batch
from bimacosr.diffusion.losses import resshift_loss
from bimacosr.diffusion.samplers import deterministic
from bimacosr.train.draws import StepDraws
from bimacosr.train.latents import LatentSpace
from bimacosr.train.picture_loss import PictureLoss
from bimacosr.train.stage import StageLoss, weighted_sum

__all__ = ["TeacherStage"]


class TeacherStage:
    """Asks the network for its target at a random place of the chain.

    Args:
        network: The network to train.
        space: Codec and chain.
        picture_loss: Terms on the picture of the predicted latent.
        weighted: Weigh the error by the place, as the variational bound does.
    """

    def __init__(
        self, network: nn.Module, space: LatentSpace, picture_loss: PictureLoss, *, weighted: bool
    ) -> None:
        self.network, self.space = network, space
        self.picture_loss = picture_loss
        self.helpers: nn.Module = picture_loss.trained
        self.weighted = weighted

    def loss(self, batch: Batch, draws: StepDraws, phase: PhaseSettings) -> StageLoss:
        """See `bimacosr.train.stage.Stage`."""
        latents = self.space.encode(batch.lq, batch.hq)
        process = self.space.process
        resshift = resshift_loss(
            self.space.condition(self.network, latents.lq),
            process,
            z_0=latents.z_0,
            z_y=latents.z_y,
            t=draws.places(len(process.schedule)),
            noise=draws.normal(latents.z_y),
            weighted=self.weighted,
        )
        terms = {"latent": resshift.total.mean()}
        if phase.weights.needs_picture:
            sr = self.space.picture(resshift.z_0)
            terms |= self.picture_loss.terms(sr, batch, phase, draws)
        return StageLoss(weighted_sum(terms, phase), terms)

    @torch.no_grad()
    def result(self, network: nn.Module, batch: Batch, draws: StepDraws) -> Tensor:
        """See `bimacosr.train.stage.Stage`; all steps, keeping the noise of the start."""
        latents = self.space.encode(batch.lq, batch.hq)
        denoise = self.space.condition(network, latents.lq)
        z_0 = deterministic(
            denoise, latents.z_y, self.space.process, lambda _: draws.normal(latents.z_y)
        )
        return self.space.picture(z_0).clamp(0, 1)
