"""Settings of the second-order degradation that makes training pairs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bimacosr.errors import OptionError

__all__ = [
    "BlurSettings",
    "DegradationSettings",
    "StageSettings",
    "camera_x4",
    "mild_x4",
    "realesrgan_x4",
]

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class BlurSettings:
    """How a random blur kernel is drawn."""

    sizes: tuple[int, ...] = tuple(range(3, 20, 2))
    """Kernel sizes to choose from, odd, in pixels."""

    kinds: tuple[str, ...] = (
        "iso",
        "aniso",
        "generalized_iso",
        "generalized_aniso",
        "plateau_iso",
        "plateau_aniso",
    )
    """Families of kernels."""

    probabilities: tuple[float, ...] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    """Probability of each kind."""

    sinc_probability: float = 0.1
    """Probability of a sinc kernel instead of the kinds above."""

    sigma: Range = (0.2, 3.0)
    """Standard deviation along each axis, pixels."""

    generalized_beta: Range = (0.5, 4.0)
    """Shape exponent of generalized kernels."""

    plateau_beta: Range = (1.0, 2.0)
    """Shape exponent of plateau kernels."""

    def __post_init__(self) -> None:
        for size in self.sizes:
            if size < 1 or size % 2 == 0:
                raise OptionError(f"a kernel size is {size}; it must be odd and at least 1")
        if len(self.kinds) != len(self.probabilities):
            raise OptionError(
                f"there are {len(self.kinds)} kinds of kernels but {len(self.probabilities)} "
                "probabilities; each kind needs one"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class StageSettings:
    """One order of the degradation: blur, resize, noise, JPEG."""

    blur: BlurSettings
    """The blur."""

    blur_probability: float = 1.0
    """Probability that this stage blurs at all."""

    resize_probabilities: tuple[float, float, float] = (0.2, 0.7, 0.1)
    """Probabilities of enlarging, reducing, keeping the size."""

    resize_range: Range = (0.15, 1.5)
    """Smallest and largest factor of the resize."""

    gaussian_probability: float = 0.5
    """Probability of Gaussian noise; Poisson noise otherwise."""

    noise_sigma: Range = (1.0, 30.0)
    """Standard deviation of Gaussian noise, of 255."""

    poisson_scale: Range = (0.05, 3.0)
    """Strength of Poisson noise; 1 is physical."""

    gray_probability: float = 0.4
    """Probability that noise is the same in all channels."""

    jpeg_quality: Range = (30.0, 95.0)
    """JPEG quality."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DegradationSettings:
    """The whole chain (Real-ESRGAN, arXiv 2107.10833, section 3; ResShift's changes)."""

    scale: int = 4
    """How much smaller the low-quality picture is."""

    first: StageSettings
    """First order."""

    second: StageSettings
    """Second order."""

    second_probability: float = 0.5
    """Probability that the second order is applied."""

    final_sinc_probability: float = 0.8
    """Probability of a final sinc filter (ringing)."""

    first_resize_by_factor: bool = False
    """Resize the first time by the bare factor, as the official trainer does, instead of to a
    whole size: part of a pixel is then cut off at the far edges, and the pair no longer lies
    exactly on top of each other."""

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise OptionError(f"scale is {self.scale}; it must be at least 1")


def realesrgan_x4() -> DegradationSettings:
    """The degradation of ResShift, SinSR and BiMaCoSR (their `realsr` YAML)."""
    first = StageSettings(blur=BlurSettings())
    second = StageSettings(
        blur=BlurSettings(sizes=tuple(range(3, 14, 2)), sigma=(0.2, 1.5)),
        blur_probability=0.8,
        resize_probabilities=(0.3, 0.4, 0.3),
        resize_range=(0.3, 1.2),
        noise_sigma=(1.0, 25.0),
        poisson_scale=(0.05, 2.5),
    )
    return DegradationSettings(first=first, second=second)


def mild_x4() -> DegradationSettings:
    """The same chain with the noise and compression of a decent camera rather than of a web crawl.

    Real photographs are mostly blurred, not noisy: a small network that learns only the heavy
    chain spends itself on smoothing.
    """
    strong = realesrgan_x4()
    gentle = {
        "noise_sigma": (0.0, 8.0),
        "poisson_scale": (0.02, 0.5),
        "jpeg_quality": (70.0, 100.0),
    }
    first = replace(strong.first, resize_range=(0.5, 1.2), **gentle)  # type: ignore[arg-type]
    second = replace(strong.second, resize_range=(0.6, 1.2), **gentle)  # type: ignore[arg-type]
    return replace(strong, first=first, second=second, second_probability=0.3)


def camera_x4() -> DegradationSettings:
    """One order of little blur and noise: a photograph by a good lens, only taken from afar."""
    mild = mild_x4()
    gentle = {
        "noise_sigma": (0.0, 4.0),
        "poisson_scale": (0.02, 0.2),
        "jpeg_quality": (80.0, 100.0),
    }
    blur = replace(mild.first.blur, sigma=(0.2, 2.0), sinc_probability=0.0)
    first = replace(mild.first, blur=blur, resize_range=(0.7, 1.2), **gentle)  # type: ignore[arg-type]
    second = replace(mild.second, **gentle)  # type: ignore[arg-type]
    return replace(
        mild, first=first, second=second, second_probability=0.0, final_sinc_probability=0.3
    )
