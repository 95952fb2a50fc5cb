"""The discriminator sees a patch, and its loss is the mirror of the network's."""

from __future__ import annotations

import math

import pytest
import torch

from bimacosr.train.discriminator import PatchDiscriminator, discriminator_loss, generator_loss


def test_an_output_for_every_four_by_four_pixels() -> None:
    assert PatchDiscriminator()(torch.rand(2, 3, 32, 48)).shape == (2, 1, 8, 12)


def test_each_output_sees_20_pixels() -> None:
    torch.manual_seed(0)
    pictures = torch.rand(1, 3, 64, 64, requires_grad=True)
    PatchDiscriminator().eval()(pictures)[0, 0, 8, 8].backward()
    assert pictures.grad is not None
    seen = pictures.grad.abs().sum((0, 1)) > 0
    for axis in (0, 1):
        places = seen.any(axis).nonzero()
        assert int(places.max() - places.min()) + 1 == 20


def test_losses_at_indecision_and_at_certainty() -> None:
    same = torch.zeros(2, 1, 3, 3)
    assert float(discriminator_loss(same, same)) == pytest.approx(math.log(2))
    sure = same + 20
    assert float(discriminator_loss(sure, -sure)) < 1e-6
    assert float(generator_loss(sure, -sure)) == pytest.approx(40, rel=1e-3)
    assert float(generator_loss(-sure, sure)) < 1e-6
