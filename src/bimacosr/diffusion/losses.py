"""Training losses: ResShift's own, and the distillation of SinSR and BiMaCoSR.

All give one number per sample, for the caller to weigh and to average; the names of the terms are
those of the official logs. Randomness comes in as tensors or as `noise(t)`, see `samplers`.

Shapes: B batch, C channels, H height, W width of a latent (default BCHW). z_0 is the clean latent,
z_y that of the enlarged low-quality picture.

Source: Yue et al. 2023, ResShift, arXiv:2307.12348; Wang et al. 2023, SinSR, arXiv:2311.14760;
terms that no paper describes follow the official code's outputs on the reference data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bimacosr.config.diffusion import DistillSettings
from bimacosr.diffusion.process import Denoise, Process, gather
from bimacosr.diffusion.samplers import Noise, find_sampler
from bimacosr.errors import OptionError

__all__ = ["Decode", "Loss", "distillation_loss", "patch_covariance_loss", "resshift_loss"]

Decode = Callable[[Tensor], Tensor]
"""From a latent to the picture in [-1, 1], differentiable."""

PATCH_PX = 8
"""Side of the patches of the covariance term, in latent pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """What a loss function gives."""

    total: Tensor
    """The loss of each sample, (B,)."""

    terms: dict[str, Tensor]
    """Its parts before their weights, each (B,), for the log."""

    z_t: Tensor
    """The noisy latent that the network saw, before the input was scaled."""

    z_0: Tensor
    """The clean latent that it predicted, with its gradient: more terms may be built on it."""


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Mean of the squared difference over all but the batch, (B,)."""
    return (a - b).square().mean(dim=(1, 2, 3))


def resshift_loss(
    denoise: Denoise,
    process: Process,
    *,
    z_0: Tensor,
    z_y: Tensor,
    t: Tensor,
    noise: Tensor,
    weighted: bool = False,
) -> Loss:
    """Ask the network for its target at place `t` of the chain; the mean squared error.

    Args:
        denoise: The network to train.
        process: The chain; its `predict_type` says what the target is.
        z_0: Clean latents, (B, C, H, W).
        z_y: Latents of the enlarged low-quality pictures, (B, C, H, W).
        t: A place for each sample, (B,) int64, 0 to T-1.
        noise: Standard normal numbers, (B, C, H, W).
        weighted: Weigh each sample as the variational bound does (`weight_loss_mse` officially).

    Source: ResShift, training objective. With "epsilon_scale" the error is divided by the noise's
    variance kappa^2 eta_t.
    """
    z_t = process.q_sample(z_0, z_y, t, noise)
    output = process.run_network(denoise, z_t, t)
    schedule = process.schedule
    variance = gather(schedule.variance, t, z_t)
    targets = {
        "xstart": z_0,
        "residual": z_y - z_0,
        "epsilon": noise,
        "epsilon_scale": variance.sqrt() * noise,
    }
    mse = squared_error(targets[process.predict_type], output)
    if process.predict_type == "epsilon_scale":
        mse = mse / variance.flatten()
    total = mse
    if weighted:
        of_noise = process.predict_type in ("epsilon", "epsilon_scale")
        table = schedule.noise_loss_weight if of_noise else schedule.z_0_loss_weight
        total = gather(table, t, z_t).flatten() * mse
    predicted = process.z_0_from_output(output, z_t, z_y, t)
    return Loss(total=total, terms={"mse": mse, "loss": total}, z_t=z_t, z_0=predicted)


def distillation_loss(
    student: Denoise,
    teacher: Denoise | Tensor,
    process: Process,
    settings: DistillSettings,
    *,
    z_0: Tensor,
    z_y: Tensor,
    noise: Noise,
    aux_noise: Noise | None = None,
    image_pm1: Tensor | None = None,
    decode: Decode | None = None,
) -> Loss:
    """Teach the student to say in one step what the teacher says in all.

    The terms, of which `settings` choose: "mse", the student's z_0 against the teacher's from the
    same noise; "mse_xT", the way back from the teacher's result to the noise; "mse_gt", the true
    latent inverted to noise and back ("mse_gt_rgb" if compared as pictures); "mse_xT_cov", the
    covariance of that noise.

    Args:
        student: The network to train.
        teacher: The network to learn from, which gets no gradient; or what its sampler gave for
            this very noise, if that was computed before.
        process: The chain, without respacing; both networks predict by its `predict_type`.
        settings: Which terms, and their weights.
        z_0: Clean latents of the true pictures, (B, C, H, W).
        z_y: Latents of the enlarged low-quality pictures, (B, C, H, W).
        noise: As a sampler gets it; `noise(T)` is the start, the rest is for an ancestral teacher.
        aux_noise: `aux_noise(i)` for the i-th auxiliary prediction of the uncertainty term.
        image_pm1: True pictures in [-1, 1], for a loss in image space.
        decode: The decoder, for a loss in image space.

    Raises:
        OptionError: the settings need an argument that is missing.

    Source: SinSR, consistency-preserving distillation; BiMaCoSR keeps only "mse".
    """
    view, truth = compared_as(settings, z_0, image_pm1, decode)
    last = process.places(process.last, z_y)
    with torch.no_grad():
        taught = teacher
        if not isinstance(taught, Tensor):
            taught = find_sampler(settings.teacher)(taught, z_y, process, noise)
        target = taught
        if settings.uncertainty:
            target = uncertain_target(student, process, settings, taught, z_0, z_y, aux_noise)
        target = view(target)
    z_t = process.prior_sample(z_y, noise(process.last + 1))
    predicted = process.predict_z_0(student, z_t, z_y, last)
    terms, weights = {"mse": squared_error(target, view(predicted))}, {"mse": 1.0}
    if settings.learn_inverse:
        inverted = process.run_network(student, taught, last, at=0)
        terms["mse_xT"], weights["mse_xT"] = squared_error(z_t, inverted), 1.0
    if settings.truth_weight:
        back, inverted = there_and_back(student, process, settings, z_0, z_y)
        name = "mse_gt_rgb" if settings.in_image_space else "mse_gt"
        terms[name], weights[name] = squared_error(truth, view(back)), settings.truth_weight
        if settings.covariance_weight:
            variance = float(process.schedule.variance[-1])
            terms["mse_xT_cov"] = patch_covariance_loss(inverted - z_y, variance)
            weights["mse_xT_cov"] = settings.covariance_weight
    total = torch.stack([weights[name] * term for name, term in terms.items()]).sum(dim=0)
    return Loss(total=total, terms=terms | {"loss": total}, z_t=z_t, z_0=predicted)


def there_and_back(
    student: Denoise, process: Process, settings: DistillSettings, z_0: Tensor, z_y: Tensor
) -> tuple[Tensor, Tensor]:
    """The true latent after the student inverted it to noise and sampled it, and that noise.

    The noise is told apart from the sample's gradient; it has its own only for the covariance term.
    """
    last = process.places(process.last, z_0)
    with torch.set_grad_enabled(settings.covariance_weight > 0 and torch.is_grad_enabled()):
        inverted = process.run_network(student, z_0, last, at=0)
    return process.predict_z_0(student, inverted.detach(), z_y, last), inverted


def compared_as(
    settings: DistillSettings, z_0: Tensor, image_pm1: Tensor | None, decode: Decode | None
) -> tuple[Decode, Tensor]:
    """How predictions are looked at, as latents or as pictures, and the truth in that view."""
    if not settings.in_image_space:
        return identity, z_0
    if image_pm1 is None or decode is None:
        raise OptionError("in_image_space needs the true pictures and the decoder")
    return decode, image_pm1


def identity(z: Tensor) -> Tensor:
    """`z` as it is."""
    return z


def uncertain_target(
    student: Denoise,
    process: Process,
    settings: DistillSettings,
    taught: Tensor,
    z_0: Tensor,
    z_y: Tensor,
    aux_noise: Noise | None,
) -> Tensor:
    """The teacher's latent where the student wavers, the true one where it is sure.

    The student is asked at the end of the chain from the teacher's latent, with several noises. The
    range of its answers, the largest of all channels, times `uncertainty` is the share of the
    teacher, at most 1.

    Source: the official code's outputs (no paper has it). They were made with two answers; for
    more, the range is our reading.
    """
    if aux_noise is None:
        raise OptionError("uncertainty needs aux_noise, noise for the auxiliary predictions")
    last = process.places(process.last, z_y)
    answers = []
    for i in range(settings.uncertainty_answers):
        z_t = process.q_sample(taught, z_y, last, aux_noise(i))
        answers.append(process.predict_z_0(student, z_t, z_y, last))
    stacked = torch.stack(answers)
    spread = (stacked.amax(dim=0) - stacked.amin(dim=0)).amax(dim=1, keepdim=True)
    share = (settings.uncertainty * spread).clamp(max=1)
    return share * taught + (1 - share) * z_0


def patch_covariance_loss(z: Tensor, variance: float) -> Tensor:
    """How far the 8x8 patches of `z` are from white noise of that `variance`.

    Args:
        z: What should be noise, (B, C, H, W), H and W at least 8 and one of them more.
        variance: Of each pixel, above 0.

    Returns:
        (B,): mean squared difference between the covariance of the patches' 64 pixels, over all
        patches of a channel, and `variance` on the diagonal; summed over the channels.
    """
    B, C, H, W = z.shape
    patches = F.unfold(z.reshape(B * C, 1, H, W), PATCH_PX)  # (B * C, 64 pixels, patches)
    count = patches.shape[2]
    if count < 2:
        raise OptionError(f"the latent is {H}x{W}; the covariance needs more than one 8x8 patch")
    centred = patches - patches.mean(dim=2, keepdim=True)
    covariance = centred @ centred.transpose(1, 2) / (count - 1)
    white = variance * torch.eye(PATCH_PX**2, dtype=z.dtype, device=z.device)
    return (covariance - white).square().mean(dim=(1, 2)).reshape(B, C).sum(dim=1)
