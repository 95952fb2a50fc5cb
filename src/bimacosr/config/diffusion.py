"""Settings of the residual-shifting diffusion: its schedule, what is predicted, the losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from bimacosr.errors import OptionError

__all__ = ["DiffusionSettings", "DistillSettings", "PredictType", "sinsr_distillation"]

PredictType = Literal["xstart", "residual", "epsilon", "epsilon_scale"]
"""What the network gives: z_0, z_y - z_0, the noise, or the noise times kappa sqrt(eta_t)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffusionSettings:
    """The Markov chain from a clean latent to a noisy low-quality one (arXiv:2307.12348).

    The names of the fields are those of the official configurations.
    """

    steps: int = 15
    """Length T of the chain, 2 to 10000."""

    power: float = 0.3
    """Exponent p of the schedule, above 0: the smaller, the earlier the residual is shifted."""

    min_noise_level: float = 0.04
    """Bounds the first sqrt(eta): min(this / kappa, this, sqrt(0.001)); above 0."""

    etas_end: float = 0.99
    """The last *sqrt(eta)* (the official name says eta), above the first one and at most 1."""

    kappa: float = 2.0
    """Noise over shift: the variance at step t is kappa^2 eta_t; 0 is a chain without noise."""

    timestep_respacing: int | None = None
    """Sample with only this many of the steps, 2 to `steps`; None takes all."""

    predict_type: PredictType = "xstart"
    """What the network was trained to predict."""

    normalize_input: bool = True
    """Scale the network's input to about unit variance."""

    latent_flag: bool = True
    """The chain runs in the latent of an autoencoder; decides how the input is scaled."""

    clip: bool = False
    """Clamp each predicted z_0 to [-1, 1]; only for chains on pixels."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        if not 2 <= self.steps <= 10_000:
            raise OptionError(f"{name}.steps is {self.steps}; it must be from 2 to 10000")
        for field in ("power", "min_noise_level"):
            if not getattr(self, field) > 0:
                raise OptionError(f"{name}.{field} is {getattr(self, field)}; it must be above 0")
        if not 0 <= self.kappa <= 1000:
            raise OptionError(f"{name}.kappa is {self.kappa}; it must be 0 (no noise) to 1000")
        if not 0 < self.etas_end <= 1:
            raise OptionError(f"{name}.etas_end is {self.etas_end}; it must be in (0, 1]")
        n = self.timestep_respacing
        if n is not None and not 2 <= n <= self.steps:
            raise OptionError(
                f"{name}.timestep_respacing is {n}; it must be 2 to {self.steps} (the steps)."
                " For one step, take the sampler 'one_step'."
            )
        if self.predict_type not in get_args(PredictType):
            raise OptionError(
                f"{name}.predict_type is {self.predict_type!r}; it must be one of"
                f" {', '.join(get_args(PredictType))}"
            )
        if self.predict_type.startswith("epsilon") and self.etas_end == 1:
            raise OptionError(
                f"{name}.etas_end is 1; a network that predicts noise needs it below 1, since no"
                " clean latent is left at the end"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillSettings:
    """Terms of the distillation loss; all off is BiMaCoSR's loss, see `sinsr_distillation`."""

    teacher: Literal["deterministic", "ancestral"] = "deterministic"
    """Sampler of the teacher's target (officially `distill_ddpm` for the ancestral one)."""

    learn_inverse: bool = False
    """Teach the student the way back, too: from the teacher's result to the noise, told as place 0
    (officially `learn_xT`)."""

    truth_weight: float = 0.0
    """Weight of the term that inverts the true picture and asks for it back, 0 and above
    (officially `finetune_use_gt`)."""

    covariance_weight: float = 0.0
    """Weight of the covariance term on the inverted true picture, 0 and above; needs
    `truth_weight` (officially `xT_cov_loss`)."""

    uncertainty: float = 0.0
    """Where the student's answers to several noises have a range r, this times r, at most 1, is the
    teacher's share in the target, and the rest the true latent's. 0 is off: all is the teacher's
    (officially `uncertainty_hyper`)."""

    uncertainty_answers: int = 2
    """How many answers that takes, at least 2 (officially `uncertainty_num_aux`)."""

    in_image_space: bool = False
    """Compare pictures, decoded with gradients, instead of latents (officially
    `loss_in_image_space`)."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.teacher not in ("deterministic", "ancestral"):
            raise OptionError(
                f"{name}.teacher is {self.teacher!r}; it must be 'deterministic' or 'ancestral'"
            )
        for field in ("truth_weight", "covariance_weight", "uncertainty"):
            if not getattr(self, field) >= 0:
                raise OptionError(
                    f"{name}.{field} is {getattr(self, field)}; it must be 0 or above"
                )
        if self.covariance_weight and not self.truth_weight:
            raise OptionError(f"{name}.covariance_weight needs truth_weight, which is 0")
        if self.uncertainty_answers < 2:
            raise OptionError(
                f"{name}.uncertainty_answers is {self.uncertainty_answers}; it must be at least 2"
            )


def sinsr_distillation() -> DistillSettings:
    """The terms of SinSR (arXiv:2311.14760)."""
    return DistillSettings(learn_inverse=True, truth_weight=1.0)
