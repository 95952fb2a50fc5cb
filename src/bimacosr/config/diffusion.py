"""Settings of the residual-shifting diffusion: its schedule, what the network predicts, the losses.

The names of the fields are those of the official configurations where they have one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from bimacosr.errors import OptionError

__all__ = ["DiffusionSettings", "DistillSettings", "PredictType", "sinsr_distillation"]

PredictType = Literal["xstart", "residual", "epsilon", "epsilon_scale"]
"""What the network gives: z_0, z_y - z_0, the noise, or the noise times kappa sqrt(eta_t)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffusionSettings:
    """The Markov chain between a clean latent and a noisy low-quality one (ResShift, arXiv:2307.12348)."""

    steps: int = 15
    """Length T of the chain, at least 2."""

    power: float = 0.3
    """Exponent p of the schedule, above 0: the smaller, the earlier the residual is shifted."""

    min_noise_level: float = 0.04
    """Bounds the first sqrt(eta): min(this / kappa, this, sqrt(0.001)); above 0."""

    etas_end: float = 0.99
    """The last *sqrt(eta)* (the official name says eta), between the first one and 1."""

    kappa: float = 2.0
    """Noise over shift: the variance at step t is kappa^2 eta_t; above 0."""

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
        if self.steps < 2:
            raise OptionError(f"{name}.steps is {self.steps}; it must be at least 2")
        for field in ("power", "min_noise_level", "kappa"):
            if not getattr(self, field) > 0:
                raise OptionError(f"{name}.{field} is {getattr(self, field)}; it must be above 0")
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


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillSettings:
    """Terms of the distillation loss; all off is BiMaCoSR's loss, see `sinsr_distillation`."""

    teacher: Literal["deterministic", "ancestral"] = "deterministic"
    """Sampler of the teacher's target."""

    learn_xT: bool = False
    """Teach the student the way back, too: from the teacher's result to the noise (at t = 0)."""

    finetune_use_gt: float = 0.0
    """Weight of the term that inverts the true picture and asks for it back; 0 and above."""

    xT_cov_loss: float = 0.0
    """Weight of the covariance term on the inverted true picture; 0 and above; needs
    `finetune_use_gt`."""

    uncertainty_hyper: float = 0.0
    """Where the student's answers to several noises differ by a range r, this times r (at most 1) is
    the share of the teacher in the target, the rest is the true latent; 0 is off: all teacher."""

    uncertainty_num_aux: int = 2
    """How many answers that takes, at least 2."""

    loss_in_image_space: bool = False
    """Compare pictures, decoded with gradients, instead of latents."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.teacher not in ("deterministic", "ancestral"):
            raise OptionError(
                f"{name}.teacher is {self.teacher!r}; it must be 'deterministic' or 'ancestral'"
            )
        for field in ("finetune_use_gt", "xT_cov_loss", "uncertainty_hyper"):
            if getattr(self, field) < 0:
                raise OptionError(
                    f"{name}.{field} is {getattr(self, field)}; it must be 0 or above"
                )
        if self.xT_cov_loss and not self.finetune_use_gt:
            raise OptionError(f"{name}.xT_cov_loss needs finetune_use_gt, which is 0")
        if self.uncertainty_num_aux < 2:
            raise OptionError(
                f"{name}.uncertainty_num_aux is {self.uncertainty_num_aux}; it must be at least 2"
            )


def sinsr_distillation() -> DistillSettings:
    """The terms of SinSR (arXiv:2311.14760)."""
    return DistillSettings(learn_xT=True, finetune_use_gt=1.0)
