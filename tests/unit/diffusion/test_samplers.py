"""Samplers: what they draw, what they call, and the registry."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.diffusion.process import make_process
from bimacosr.diffusion.samplers import (
    SAMPLERS,
    ancestral,
    deterministic,
    deterministic_inverse,
    find_sampler,
    one_step,
    registry,
)
from bimacosr.errors import OptionError

SHAPE = (1, 3, 4, 4)
PROCESS = make_process(DiffusionSettings())
Z_Y = torch.linspace(-1, 1, 48, dtype=torch.float64).reshape(SHAPE)


def noise(t: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(t), dtype=torch.float64)


def denoise(z: Tensor, steps: Tensor) -> Tensor:
    return 0.5 * torch.tanh(z) + 0.01 * steps


@pytest.mark.parametrize("name", SAMPLERS)
def test_same_noise_same_result(name: str) -> None:
    torch.manual_seed(1)
    first = find_sampler(name)(denoise, Z_Y, PROCESS, noise)
    torch.manual_seed(2)
    assert torch.equal(find_sampler(name)(denoise, Z_Y, PROCESS, noise), first)
    assert first.shape == SHAPE


@pytest.mark.parametrize(
    ("name", "drawn"),
    [("ancestral", list(range(15, 0, -1))), ("deterministic", [15]), ("one_step", [15])],
)
def test_noise_that_is_drawn(name: str, drawn: list[int]) -> None:
    asked = []

    def counting(t: int) -> Tensor:
        asked.append(t)
        return noise(t)

    find_sampler(name)(denoise, Z_Y, PROCESS, counting)
    assert asked == drawn


@pytest.mark.parametrize(
    ("name", "places"),
    [("ancestral", range(14, -1, -1)), ("deterministic", range(14, -1, -1)), ("one_step", [14])],
)
def test_steps_are_told(name: str, places: list[int]) -> None:
    told: list[tuple[int, Tensor]] = []
    z = find_sampler(name)(denoise, Z_Y, PROCESS, noise, on_step=lambda t, z: told.append((t, z)))
    assert [t for t, _ in told] == list(places)
    assert torch.equal(told[-1][1], z)


def test_one_step_is_the_prediction_at_the_end_of_the_chain() -> None:
    z_t = PROCESS.prior_sample(Z_Y, noise(15))
    t = torch.tensor([14])
    expected = PROCESS.predict_z_0(denoise, z_t, Z_Y, t)
    assert torch.equal(one_step(denoise, Z_Y, PROCESS, noise), expected)


def test_a_network_that_knows_the_answer_gives_it_by_each_sampler() -> None:
    truth = noise(99)
    for sampler in (ancestral, deterministic, one_step):
        assert torch.equal(sampler(lambda z, t: truth, Z_Y, PROCESS, noise), truth)


def test_inverse_returns_to_the_noise() -> None:
    """With predictions that do not depend on the latent, the way back is exact from place 0 on."""
    truth = noise(99)
    told: list[Tensor] = []
    deterministic(lambda z, t: truth, Z_Y, PROCESS, noise, on_step=lambda t, z: told.append(z))
    start = deterministic_inverse(lambda z, t: truth, told[-2], Z_Y, PROCESS)
    torch.testing.assert_close(start, PROCESS.prior_sample(Z_Y, noise(15)))


def test_inverse_tells_its_steps() -> None:
    told: list[int] = []
    deterministic_inverse(denoise, Z_Y, Z_Y, PROCESS, on_step=lambda t, z: told.append(t))
    assert told == list(range(1, 15))


class TestRegistry:
    def test_unknown_name(self) -> None:
        with pytest.raises(
            OptionError, match="'ddim' is not known; there are ancestral, deterministic, one_step"
        ):
            find_sampler("ddim")

    def test_a_name_twice(self) -> None:
        with pytest.raises(ValueError, match="sampler 'a' is registered twice"):
            registry([("a", one_step), ("b", ancestral), ("a", ancestral)])
