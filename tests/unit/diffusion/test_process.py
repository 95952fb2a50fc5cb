"""One step of the chain, forward and back."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from bimacosr.config.diffusion import DiffusionSettings, PredictType
from bimacosr.diffusion.process import Process, enlarge, gather, make_process
from bimacosr.errors import OptionError

SHAPE = (2, 3, 4, 5)


def normal(seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def process(**settings: Any) -> Process:
    return make_process(DiffusionSettings(**settings))


def test_the_first_place_is_near_the_clean_latent() -> None:
    z_0, z_y, noise = normal(0), normal(1), normal(2)
    z = process().q_sample(z_0, z_y, torch.zeros(2, dtype=torch.int64), noise)
    expected = z_0 + 0.02**2 * (z_y - z_0) + 2 * 0.02 * noise
    torch.testing.assert_close(z, expected)


def test_the_last_place_is_near_the_prior() -> None:
    z_0, z_y, noise = normal(0), normal(1), normal(2)
    chain = process()
    z = chain.q_sample(z_0, z_y, chain.places(14, z_0), noise)
    prior = chain.prior_sample(z_y, noise)
    torch.testing.assert_close(z - prior, (1 - 0.99**2) * (z_0 - z_y))


@pytest.mark.parametrize("predict_type", get_args(PredictType))
def test_a_perfect_network_gives_the_clean_latent(predict_type: PredictType) -> None:
    chain = process(predict_type=predict_type)
    z_0, z_y, noise = normal(0), normal(1), normal(2)
    t = torch.tensor([3, 12])
    z_t = chain.q_sample(z_0, z_y, t, noise)
    scale = 2 * gather(chain.schedule.sqrt_etas, t, z_t)
    says = {
        "xstart": z_0,
        "residual": z_y - z_0,
        "epsilon": noise,
        "epsilon_scale": scale * noise,
    }
    got = chain.predict_z_0(lambda z, steps: says[predict_type], z_t, z_y, t)
    torch.testing.assert_close(got, z_0)


def test_the_network_gets_the_unspaced_step_and_the_scaled_input() -> None:
    chain = process(timestep_respacing=4)
    seen: list[Any] = []

    def denoise(z: Tensor, steps: Tensor) -> Tensor:
        seen.append((z, steps))
        return z

    z_t, t = normal(0), torch.tensor([3, 1])
    chain.run_network(denoise, z_t, t)
    assert seen[0][1].tolist() == [11, 3]
    assert torch.equal(seen[0][0], chain.scale_input(z_t, t))
    chain.run_network(denoise, z_t, t, at=2)
    assert seen[1][1].tolist() == [7, 7]
    assert torch.equal(seen[1][0], seen[0][0])


def test_input_scaling_gives_unit_variance_or_bounds() -> None:
    t = torch.tensor([14, 14])
    z = torch.full(SHAPE, 1.0, dtype=torch.float64)
    latent = process().scale_input(z, t)
    torch.testing.assert_close(latent, z / (4 * 0.99**2 + 1) ** 0.5)
    torch.testing.assert_close(process(latent_flag=False).scale_input(z, t), z / (6 * 0.99 + 1))
    assert process(normalize_input=False).scale_input(z, t) is z


def test_clip_keeps_predictions_in_range() -> None:
    chain = process(clip=True)
    z_0 = chain.predict_z_0(lambda z, t: 5 * z, normal(0), normal(1), torch.tensor([3, 7]))
    assert float(z_0.abs().max()) == 1


class TestDeterministicStep:
    @pytest.mark.parametrize("places", [(1, 14), (5, 9)])
    def test_the_inverse_returns(self, places: tuple[int, int]) -> None:
        chain, t = process(), torch.tensor(places)
        z_t, z_0, z_y = normal(0), normal(1), normal(2)
        z_prev = chain.deterministic_step(z_t, z_0, z_y, t)
        torch.testing.assert_close(chain.deterministic_inverse(z_prev, z_0, z_y, t), z_t)

    def test_the_noise_is_kept(self) -> None:
        """Given the true z_0, a sample of place t becomes that of t-1 with the same noise."""
        chain, t = process(), torch.tensor([8, 8])
        z_0, z_y, noise = normal(0), normal(1), normal(2)
        z_t = chain.q_sample(z_0, z_y, t, noise)
        step = chain.deterministic_step(z_t, z_0, z_y, t)
        torch.testing.assert_close(step, chain.q_sample(z_0, z_y, t - 1, noise))

    def test_place_0_has_no_inverse(self) -> None:
        z = normal(0)
        with pytest.raises(OptionError, match="no inverse at place 0"):
            process().deterministic_inverse(z, z, z, torch.tensor([1, 0]))


def test_posterior_is_without_noise_at_place_0() -> None:
    chain = process()
    z_t, z_0 = normal(0), normal(1)
    z = chain.posterior_sample(z_t, z_0, torch.tensor([0, 3]), normal(2))
    torch.testing.assert_close(z[0], z_0[0])
    assert not torch.allclose(z[1], chain.posterior_mean(z_t, z_0, torch.tensor([0, 3]))[1])


@pytest.mark.parametrize(
    ("of", "gathered"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.float16, torch.float32),
    ],
)
def test_coefficients_are_never_below_float32(of: torch.dtype, gathered: torch.dtype) -> None:
    table = process().schedule.etas
    got = gather(table, torch.tensor([1, 2]), torch.zeros(SHAPE, dtype=of))
    assert got.dtype == gathered
    assert got.shape == (2, 1, 1, 1)


def test_enlarge_keeps_a_constant() -> None:
    big = enlarge(torch.full((1, 3, 4, 6), 0.5), 4)
    torch.testing.assert_close(big, torch.full((1, 3, 16, 24), 0.5))
