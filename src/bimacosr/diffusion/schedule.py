"""The eta schedule of residual shifting and every coefficient that follows from it.

All tables are float64 of shape (T,), indexed by the place t in the (possibly respaced) chain.

Source: Yue et al. 2023, ResShift, arXiv:2307.12348, methodology; Wang et al. 2023, SinSR,
arXiv:2311.14760.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.errors import OptionError

__all__ = ["Schedule", "Table", "make_schedule", "respaced_steps", "sqrt_eta_table"]

Table = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Schedule:
    """The chain: how far the residual is shifted at each place, and what follows from it."""

    sqrt_etas: Table
    """sqrt(eta_t), rising, in (0, 1]."""

    kappa: float
    """Noise over shift."""

    network_steps: tuple[int, ...]
    """The time step that the network gets at each place: that of the chain before respacing."""

    def __len__(self) -> int:
        return len(self.sqrt_etas)

    @property
    def etas(self) -> Table:
        """eta_t, the part of the residual that is shifted at t."""
        return self.sqrt_etas**2

    @property
    def etas_prev(self) -> Table:
        """eta_(t-1), with eta_(-1) = 0."""
        return np.append(0.0, self.etas[:-1])

    @property
    def alphas(self) -> Table:
        """alpha_t = eta_t - eta_(t-1)."""
        return self.etas - self.etas_prev

    @property
    def variance(self) -> Table:
        """Variance of z_t given z_0 and z_y: kappa^2 eta_t."""
        return self.kappa**2 * self.etas

    @property
    def posterior_z_t(self) -> Table:
        """Weight of z_t in the posterior mean: eta_(t-1) / eta_t."""
        return self.etas_prev / self.etas

    @property
    def posterior_z_0(self) -> Table:
        """Weight of z_0 in the posterior mean: alpha_t / eta_t."""
        return self.alphas / self.etas

    @property
    def posterior_variance(self) -> Table:
        """kappa^2 eta_(t-1) / eta_t alpha_t, 0 at t = 0."""
        return self.kappa**2 * self.posterior_z_t * self.alphas

    @property
    def posterior_variance_clipped(self) -> Table:
        """The posterior variance with its second value in place of the zero at t = 0."""
        variance = self.posterior_variance
        return np.append(variance[1], variance[1:])

    @property
    def deterministic_z_0(self) -> Table:
        """Weight k of z_0 in the deterministic step."""
        now, prev = self.etas, self.etas_prev
        return 1 - prev + np.sqrt(prev * now) - np.sqrt(prev / now)

    @property
    def deterministic_z_t(self) -> Table:
        """Weight m of z_t in the deterministic step, 0 at t = 0."""
        return np.sqrt(self.etas_prev / self.etas)

    @property
    def deterministic_z_y(self) -> Table:
        """Weight j of z_y in the deterministic step."""
        return self.etas_prev - np.sqrt(self.etas_prev * self.etas)

    @property
    def z_0_loss_weight(self) -> Table:
        """Weight of |z_0 error|^2 in the variational bound: alpha^2 / (2 eta^2 variance)."""
        return 0.5 / self.posterior_variance_clipped * (self.alphas / self.etas) ** 2

    @property
    def noise_loss_weight(self) -> Table:
        """Weight of |noise error|^2 in the variational bound."""
        factor = self.kappa * self.alphas / ((1 - self.etas) * self.sqrt_etas)
        return 0.5 / self.posterior_variance_clipped * factor**2


def sqrt_eta_table(
    *, steps: int, power: float, min_noise_level: float, etas_end: float, kappa: float
) -> Table:
    """sqrt(eta_t) for t = 0..steps-1: geometric from first to last, with a warped exponent.

    The arguments are those of `DiffusionSettings`.

    Raises:
        OptionError: the last value is not above the first.

    Source: ResShift, "noise schedule".
    """
    first = min(min_noise_level / max(kappa, 1.0), math.sqrt(0.001))  # a chain without noise too
    if etas_end <= first:
        raise OptionError(
            f"etas_end is {etas_end}; it must be above the first sqrt(eta), which is {first:.4g}"
        )
    base = math.exp(math.log(etas_end / first) / (steps - 1))
    exponent = np.linspace(0, 1, steps) ** power * (steps - 1)
    table: Table = first * base**exponent
    return table


def respaced_steps(steps: int, n: int) -> tuple[int, ...]:
    """The `n` of `steps` places that respacing keeps: int(steps / n * i).

    The last place of the chain is not among them unless n = steps: 4 of 15 are 0, 3, 7, 11.

    Raises:
        OptionError: n is not 2 to `steps`.
    """
    if not 2 <= n <= steps:
        raise OptionError(f"cannot keep {n} of {steps} steps; take 2 to {steps}")
    return tuple(int(steps / n * i) for i in range(n))


def make_schedule(settings: DiffusionSettings) -> Schedule:
    """The schedule that `settings` describe; respacing takes over the etas of the kept steps.

    Raises:
        OptionError: the etas would not rise.
    """
    table = sqrt_eta_table(
        steps=settings.steps,
        power=settings.power,
        min_noise_level=settings.min_noise_level,
        etas_end=settings.etas_end,
        kappa=settings.kappa,
    )
    kept = tuple(range(settings.steps))
    if settings.timestep_respacing is not None:
        kept = respaced_steps(settings.steps, settings.timestep_respacing)
    return Schedule(sqrt_etas=table[list(kept)], kappa=settings.kappa, network_steps=kept)
