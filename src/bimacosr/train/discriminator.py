"""A small discriminator that tells photographs from results, patch by patch, and its memory.

Shapes: B batch, H and W in pixels (BCHW, RGB in [0, 1]).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from bimacosr.train.draws import StepDraws

__all__ = ["PatchDiscriminator", "ResultMemory", "discriminator_loss", "generator_loss"]

KEEP_EVERY = 10  # steps


class PatchDiscriminator(nn.Module):
    """Four convolutions; each output sees 20 x 20 pixels, about what texture is made of.

    Source: PatchGAN (Isola et al. 2017, arXiv 1611.07004) with spectral normalization (Miyato et
    al. 2018, arXiv 1802.05957).
    """

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(2 * channels, 2 * channels, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * channels, 1, 3, padding=1),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """B,3,H,W to B,1,H/4,W/4: higher where it believes."""
        result: Tensor = self.layers(pictures * 2 - 1)
        return result


class ResultMemory(nn.Module):
    """Old results, for the discriminator to see again; part of the state of a training.

    Source: Shrivastava et al. 2017, arXiv 1612.07828, section 2.3.

    Args:
        size: Batches, or parts of them, to keep, at least 1: the newest of every tenth step.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.kept: list[Tensor] = []  # B,3,H,W uint8, the oldest first

    def mixed(self, sr: Tensor, draws: StepDraws) -> Tensor:
        """Results B,3,H,W in [0, 1] with half of them exchanged for old ones; keeps some."""
        if not self.kept or draws.step % KEEP_EVERY == 0:
            self.kept.append((sr.detach().clamp(0, 1) * 255).round().byte().cpu())
            del self.kept[: -self.size]
        old = self.kept[draws.pick(len(self.kept))]
        count = min(len(old), len(sr) // 2)
        return torch.cat([sr[: len(sr) - count], old[len(old) - count :].to(sr) / 255])

    def get_extra_state(self) -> list[Tensor]:
        """What a state dict holds."""
        return list(self.kept)

    def set_extra_state(self, state: list[Tensor]) -> None:
        """Take up what a state dict held."""
        self.kept = list(state)[-self.size :]


def discriminator_loss(believes_real: Tensor, believes_fake: Tensor) -> Tensor:
    """Relativistic average logistic loss of the discriminator (arXiv 1807.00734, eq. 10)."""
    return (
        F.softplus(-(believes_real - believes_fake.mean())).mean()
        + F.softplus(believes_fake - believes_real.mean()).mean()
    ) / 2


def generator_loss(believes_real: Tensor, believes_fake: Tensor) -> Tensor:
    """The same with the roles exchanged: what the network is trained with."""
    return discriminator_loss(believes_fake, believes_real)
