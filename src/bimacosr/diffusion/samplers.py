"""Samplers: plain functions from noise to a clean latent, and the way back.

A sampler is called as `sampler(denoise, z_y, process, noise, on_step=None)`. Randomness enters
only through `noise(t)`, which gives standard normal numbers of the shape of z_y: t = T (the length
of the chain) is the noise of the start, t = T-1 .. 1 that of the step from t to t-1. After each
step, `on_step(t, z)` is told from which place t (T-1 .. 0) it went, and its result.

Shapes: B batch, C channels, H height, W width of a latent (default BCHW).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from torch import Tensor

from bimacosr.diffusion.process import Denoise, Process
from bimacosr.errors import OptionError

__all__ = [
    "SAMPLERS",
    "Noise",
    "OnStep",
    "Sampler",
    "ancestral",
    "deterministic",
    "deterministic_inverse",
    "find_sampler",
    "one_step",
]

Noise = Callable[[int], Tensor]
OnStep = Callable[[int, Tensor], None]


class Sampler(Protocol):
    """From noise to a clean latent."""

    def __call__(
        self,
        denoise: Denoise,
        z_y: Tensor,
        process: Process,
        noise: Noise,
        *,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Sample z_0 given z_y; both BCHW."""


def ancestral(
    denoise: Denoise,
    z_y: Tensor,
    process: Process,
    noise: Noise,
    *,
    on_step: OnStep | None = None,
) -> Tensor:
    """Walk the chain back, drawing each step from its posterior (ResShift, reverse process).

    Returns:
        z_0 (B, C, H, W); at the last step the mean, which is the network's prediction.
    """
    z = process.prior_sample(z_y, noise(process.last + 1))
    for step in range(process.last, -1, -1):
        t = process.places(step, z)
        z_0 = process.predict_z_0(denoise, z, z_y, t)
        z = process.posterior_sample(z, z_0, t, noise(step)) if step else z_0
        if on_step is not None:
            on_step(step, z)
    return z


def deterministic(
    denoise: Denoise,
    z_y: Tensor,
    process: Process,
    noise: Noise,
    *,
    on_step: OnStep | None = None,
) -> Tensor:
    """Walk the chain back, keeping the noise of the start (SinSR, where it is called ddim).

    Returns:
        z_0 (B, C, H, W).
    """
    z = process.prior_sample(z_y, noise(process.last + 1))
    for step in range(process.last, -1, -1):
        t = process.places(step, z)
        z_0 = process.predict_z_0(denoise, z, z_y, t)
        z = process.deterministic_step(z, z_0, z_y, t)
        if on_step is not None:
            on_step(step, z)
    return z


def one_step(
    denoise: Denoise,
    z_y: Tensor,
    process: Process,
    noise: Noise,
    *,
    on_step: OnStep | None = None,
) -> Tensor:
    """Ask the network once, at the start of the chain (SinSR; BiMaCoSR).

    Returns:
        z_0 (B, C, H, W).
    """
    z = process.prior_sample(z_y, noise(process.last + 1))
    z_0 = process.predict_z_0(denoise, z, z_y, process.places(process.last, z))
    if on_step is not None:
        on_step(process.last, z_0)
    return z_0


def deterministic_inverse(
    denoise: Denoise,
    z_0: Tensor,
    z_y: Tensor,
    process: Process,
    *,
    on_step: OnStep | None = None,
) -> Tensor:
    """Walk the chain forward, from a clean latent to the noise that `deterministic` makes it of.

    The way is only nearly the same: at each step from t-1 to t, the network is asked at z_(t-1)
    for what it would say at z_t.

    Returns:
        z_(T-1) (B, C, H, W).

    Source: SinSR, arXiv:2311.14760.
    """
    z = z_0
    for step in range(1, process.last + 1):
        t = process.places(step, z)
        predicted = process.predict_z_0(denoise, z, z_y, t)
        z = process.deterministic_inverse(z, predicted, z_y, t)
        if on_step is not None:
            on_step(step, z)
    return z


def registry(rows: Iterable[tuple[str, Sampler]]) -> dict[str, Sampler]:
    """The samplers by name; a name given twice is a defect of ours."""
    samplers: dict[str, Sampler] = {}
    for name, sampler in rows:
        if name in samplers:
            raise ValueError(f"sampler {name!r} is registered twice")
        samplers[name] = sampler
    return samplers


SAMPLERS = registry(
    [
        ("ancestral", ancestral),
        ("deterministic", deterministic),
        ("one_step", one_step),
    ]
)


def find_sampler(name: str) -> Sampler:
    """The sampler of that name.

    Raises:
        OptionError: there is none.
    """
    if name not in SAMPLERS:
        raise OptionError(f"sampler {name!r} is not known; there are {', '.join(SAMPLERS)}")
    return SAMPLERS[name]
