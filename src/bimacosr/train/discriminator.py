"""A small discriminator that tells photographs from results, patch by patch.

Shapes: B batch, H and W in pixels (BCHW, RGB in [0, 1]).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["PatchDiscriminator", "discriminator_loss", "generator_loss"]


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


def discriminator_loss(believes_real: Tensor, believes_fake: Tensor) -> Tensor:
    """Relativistic average logistic loss of the discriminator (arXiv 1807.00734, eq. 10)."""
    return (
        F.softplus(-(believes_real - believes_fake.mean())).mean()
        + F.softplus(believes_fake - believes_real.mean()).mean()
    ) / 2


def generator_loss(believes_real: Tensor, believes_fake: Tensor) -> Tensor:
    """The same with the roles exchanged: what the network is trained with."""
    return discriminator_loss(believes_fake, believes_real)
