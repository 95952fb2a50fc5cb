"""The eta schedule and respacing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.diffusion.schedule import make_schedule, respaced_steps, sqrt_eta_table
from bimacosr.errors import OptionError


def test_first_and_last() -> None:
    table = make_schedule(DiffusionSettings()).sqrt_etas
    assert len(table) == 15
    assert table[0] == pytest.approx(0.02)  # 0.04 / kappa
    assert table[-1] == pytest.approx(0.99)
    assert (np.diff(table) > 0).all()


@pytest.mark.parametrize(
    ("noise", "kappa", "first"),
    [(0.04, 2.0, 0.02), (0.04, 1.0, math.sqrt(0.001)), (0.01, 0.5, 0.01), (0.2, 2.0, 0.0316)],
)
def test_three_bounds_of_the_first(noise: float, kappa: float, first: float) -> None:
    table = sqrt_eta_table(steps=4, power=0.3, min_noise_level=noise, etas_end=0.99, kappa=kappa)
    assert table[0] == pytest.approx(first, rel=1e-3)


def test_coefficients_of_each_step_sum_as_they_must() -> None:
    """A constant picture stays: the weights of z_0, z_t and z_y add up to one."""
    schedule = make_schedule(DiffusionSettings())
    np.testing.assert_allclose(schedule.posterior_z_0 + schedule.posterior_z_t, 1)
    weights = (schedule.deterministic_z_0, schedule.deterministic_z_t, schedule.deterministic_z_y)
    np.testing.assert_allclose(sum(weights), 1)
    assert [w[0] for w in weights] == [1, 0, 0]
    np.testing.assert_allclose(schedule.alphas.sum(), schedule.etas[-1])


class TestRespacing:
    @pytest.mark.parametrize(
        ("steps", "n", "kept"),
        [(15, 4, (0, 3, 7, 11)), (15, 2, (0, 7)), (15, 15, tuple(range(15))), (4, 3, (0, 1, 2))],
    )
    def test_kept_steps(self, steps: int, n: int, kept: tuple[int, ...]) -> None:
        assert respaced_steps(steps, n) == kept

    def test_etas_are_taken_over(self) -> None:
        full = make_schedule(DiffusionSettings())
        few = make_schedule(DiffusionSettings(timestep_respacing=4))
        assert few.network_steps == (0, 3, 7, 11)
        assert few.sqrt_etas.tolist() == full.sqrt_etas[[0, 3, 7, 11]].tolist()

    @pytest.mark.parametrize("n", [0, 1, 16])
    def test_out_of_range(self, n: int) -> None:
        with pytest.raises(OptionError, match=f"cannot keep {n} of 15 steps; take 2 to 15"):
            respaced_steps(15, n)
        with pytest.raises(OptionError, match=f"timestep_respacing is {n}; it must be 2 to 15"):
            DiffusionSettings(timestep_respacing=n)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 1}, "steps is 1; it must be from 2 to 10000"),
        ({"power": 0.0}, r"power is 0\.0; it must be above 0"),
        ({"kappa": float("nan")}, r"kappa is nan; it must be 0 \(no noise\) to 1000"),
        ({"min_noise_level": -1.0}, r"min_noise_level is -1\.0; it must be above 0"),
        ({"etas_end": 1.5}, r"etas_end is 1\.5; it must be in \(0, 1\]"),
        ({"etas_end": 1.0, "predict_type": "epsilon"}, "etas_end is 1; a network that predicts"),
        ({"predict_type": "x"}, "predict_type is 'x'; it must be one of xstart, residual"),
    ],
)
def test_settings_out_of_range(change: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        DiffusionSettings(**change)


def test_schedule_that_would_not_rise() -> None:
    with pytest.raises(
        OptionError, match=r"etas_end is 0\.01; .* first sqrt\(eta\), which is 0\.02"
    ):
        make_schedule(DiffusionSettings(etas_end=0.01))
