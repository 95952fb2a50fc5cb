"""The terms of the loss that look at pictures, and the discriminator that is trained beside.

Shapes: B batch, H and W in pixels of the enlarged picture (BCHW, RGB in [0, 1]).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bimacosr.config.train import PhaseSettings
from bimacosr.data.loading import Batch
from bimacosr.train.discriminator import (
    PatchDiscriminator,
    ResultMemory,
    discriminator_loss,
    generator_loss,
)
from bimacosr.train.draws import StepDraws
from bimacosr.train.losses import flat_area_loss, phase_loss, shifted_blurred
from bimacosr.train.picture_teacher import PictureTeacher

__all__ = ["PictureLoss"]

SHIFTS_PX = 8  # LPIPS-squeeze samples its input on a lattice that repeats after 8 pixels
BLUR_PX = 0.7


class PictureLoss:
    """Terms of a result against the truth, each computed only where it has a weight.

    Args:
        perceptual: Distance of two pictures, (B,), frozen; None where no phase asks for it.
        discriminator: Tells photographs from results; None where no phase asks for it.
        memory: Old results that the discriminator sees again; None shows it the newest alone.
        teacher: Gives part of the target; None where no phase asks for it.
        scale: Enlargement.
    """

    def __init__(
        self,
        perceptual: nn.Module | None = None,
        discriminator: PatchDiscriminator | None = None,
        memory: ResultMemory | None = None,
        teacher: PictureTeacher | None = None,
        *,
        scale: int,
    ) -> None:
        self.perceptual, self.discriminator, self.memory = perceptual, discriminator, memory
        self.teacher, self.scale = teacher, scale
        helpers = {"discriminator": discriminator, "memory": memory}
        self.trained = nn.ModuleDict({name: m for name, m in helpers.items() if m is not None})

    def terms(
        self, sr: Tensor, batch: Batch, phase: PhaseSettings, draws: StepDraws
    ) -> dict[str, Tensor]:
        """The terms of the result `sr` by name, each one number, before their weights.

        "discriminator" is the discriminator's own loss, of weight 1: its gradient reaches nothing
        else, and the gradient of "adversarial" does not reach the discriminator.
        """
        terms: dict[str, Tensor] = {}
        weights, hr = phase.weights, batch.hq
        if phase.teacher_share:
            assert self.teacher is not None
            hr = self.teacher.target(batch, draws, phase.teacher_share)
        if weights.l1:
            terms["l1"] = (sr - hr).abs().mean()
        if weights.perceptual:
            assert self.perceptual is not None
            shift = draws.shift(SHIFTS_PX)
            seen = [shifted_blurred(picture, shift, BLUR_PX) for picture in (sr, hr)]
            terms["perceptual"] = self.perceptual(*seen).mean()
        if weights.phase:
            terms["phase"] = phase_loss(sr, hr, scale=self.scale)
        if weights.flat:
            terms["flat"] = flat_area_loss(sr, hr)
        if weights.adversarial:
            assert self.discriminator is not None
            photos = round(phase.photo_share * len(hr))
            real = torch.cat([batch.hq[:photos], hr[photos:]])
            with frozen(self.discriminator):
                terms["adversarial"] = generator_loss(
                    self.discriminator(real), self.discriminator(sr)
                )
            false = sr.detach()
            if self.memory:
                false = self.memory.mixed(false, draws)
            terms["discriminator"] = discriminator_loss(
                self.discriminator(real), self.discriminator(false)
            )
        return terms


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No gradient reaches the parameters of `module` from what is computed inside."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
