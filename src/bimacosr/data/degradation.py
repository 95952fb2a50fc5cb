"""Make the low-quality photo that a clean one could have been.

    blur -> resize -> noise -> JPEG -> (the same again) -> resize and ringing -> 8 bit

Shapes: B batch, H and W of the clean picture (BCHW), values in [0, 1].

Source: Real-ESRGAN, arXiv 2107.10833, section 3, with ResShift's changes (arXiv 2307.12348).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bimacosr.config.degradation import BlurSettings, DegradationSettings, StageSettings
from bimacosr.data.draws import Draws
from bimacosr.data.jpeg import jpeg
from bimacosr.data.kernels import Kernel, pad_kernel, random_kernel, random_sinc
from bimacosr.errors import OptionError

__all__ = [
    "add_gaussian_noise",
    "add_poisson_noise",
    "blur",
    "degrade",
    "resize",
    "round_to_8_bits",
]

_RESIZE_MODES = ("area", "bilinear", "bicubic")


def degrade(
    hq: Tensor, settings: DegradationSettings, draws: Draws, *, resize_back: bool = False
) -> Tensor:
    """The low-quality pictures of `hq`, all through the same choices but with their own kernels.

    Args:
        hq: B,3,H,W RGB in [0, 1]; H and W multiples of the scale.
        settings: Strengths and probabilities.
        draws: The only source of randomness.
        resize_back: Enlarge the result to the size of `hq`, bicubic, before it is rounded.

    Returns:
        B,3,H/scale,W/scale (B,3,H,W with `resize_back`) in [0, 1], rounded to 1/255.

    Raises:
        OptionError: H or W is not a multiple of the scale, or too small for the blur kernels.
    """
    height, width = hq.shape[2:]
    if height % settings.scale or width % settings.scale:
        raise OptionError(
            f"the picture is {width}x{height} pixels; both must be multiples of {settings.scale}"
        )
    small = (height // settings.scale, width // settings.scale)
    by_factor = settings.first_resize_by_factor
    x = _blur_resize_noise(hq, settings.first, draws, (height, width), by_factor=by_factor)
    x = _compress(x, settings.first, draws)
    if draws.happens(settings.second_probability):
        x = _blur_resize_noise(x, settings.second, draws, small)
    last_jpeg = settings.second
    if draws.happens(0.5):
        x = _compress(_finish(x, settings, draws, small), last_jpeg, draws)
    else:
        x = _finish(_compress(x, last_jpeg, draws), settings, draws, small)
    return round_to_8_bits(resize(x, (height, width), "bicubic") if resize_back else x)


def round_to_8_bits(x: Tensor) -> Tensor:
    """Clip to [0, 1] and round to the nearest 1/255, halves to even."""
    return (x.clamp(0, 1) * 255).round() / 255


def resize(x: Tensor, to: tuple[int, int] | float, mode: str) -> Tensor:
    """Resize BCHW to a height and width in pixels, or by a factor (rounded down to pixels).

    By a factor, output pixel i lies at i / factor even if the factor does not give a whole number
    of pixels; "area" knows no such places and takes the whole picture.

    Args:
        x: Pictures, BCHW.
        to: Height and width, or the factor.
        mode: "area", "bilinear" or "bicubic" (a = -0.75); none of the last two smooths first.

    Raises:
        OptionError: the factor leaves no pixel.
    """
    if isinstance(to, tuple):
        return F.interpolate(x, to, mode=mode)
    height, width = x.shape[2:]
    if int(min(height, width) * to) < 1:
        raise OptionError(
            f"a picture of {width}x{height} pixels has none left when resized by {to:.3g}; "
            "start from larger crops"
        )
    return F.interpolate(x, scale_factor=to, mode=mode)


def blur(pictures: Tensor, kernels: Tensor) -> Tensor:
    """Filter each picture with its own kernel (B,k,k; k odd), reflecting at the edges.

    Raises:
        OptionError: a picture is not larger than half a kernel.
    """
    b, c, h, w = pictures.shape
    k = kernels.shape[-1]
    if min(h, w) <= k // 2:
        raise OptionError(
            f"a picture of {w}x{h} pixels is too small for a blur kernel of {k}x{k}; "
            "start from larger crops"
        )
    padded = F.pad(pictures, (k // 2,) * 4, mode="reflect")
    weight = kernels[:, None].repeat(1, c, 1, 1).view(b * c, 1, k, k).to(padded)
    return F.conv2d(padded.reshape(1, b * c, *padded.shape[2:]), weight, groups=b * c).view(
        b, c, h, w
    )


def add_gaussian_noise(
    x: Tensor, sigma_range: tuple[float, float], gray_probability: float, draws: Draws
) -> Tensor:
    """Noise of random strength per picture (of 255), grey or coloured; clipped to [0, 1]."""
    b, c, h, w = x.shape
    low, high = sigma_range
    sigma = (draws.uniform(b) * (high - low) + low).view(b, 1, 1, 1) / 255
    gray = (draws.uniform(b) < gray_probability).to(x.dtype).view(b, 1, 1, 1)
    # one grey map for the whole batch, scaled by each picture's sigma
    gray_map = draws.normal(h, w) if bool(gray.any()) else x.new_zeros(h, w)
    noise = draws.normal(b, c, h, w)
    return (x + sigma * (noise * (1 - gray) + gray_map * gray)).clamp(0, 1)


def add_poisson_noise(
    x: Tensor, scale_range: tuple[float, float], gray_probability: float, draws: Draws
) -> Tensor:
    """Shot noise of random strength per picture, grey or coloured; clipped to [0, 1]."""
    b = x.shape[0]
    low, high = scale_range
    scale = (draws.uniform(b) * (high - low) + low).view(b, 1, 1, 1)
    gray = (draws.uniform(b) < gray_probability).to(x.dtype).view(b, 1, 1, 1)
    noise_gray = x.new_zeros(())
    if bool(gray.any()):
        luma = (x * x.new_tensor([0.2989, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
        noise_gray = _shot_noise(luma, draws).expand_as(x)
    noise = _shot_noise(x, draws)
    return (x + scale * (noise * (1 - gray) + noise_gray * gray)).clamp(0, 1)


def _shot_noise(x: Tensor, draws: Draws) -> Tensor:
    """Poisson counts less their mean; the number of levels is that of each picture."""
    x = (x * 255).round().clamp(0, 255) / 255
    levels = [2.0 ** np.ceil(np.log2(len(torch.unique(picture)))) for picture in x]
    counts = x.new_tensor(levels).view(-1, 1, 1, 1)
    return draws.poisson(x * counts) / counts - x


def _kernels(batch: int, settings: BlurSettings, draws: Draws) -> Tensor:
    return _stacked([random_kernel(settings, draws) for _ in range(batch)])


def _stacked(kernels: list[Kernel]) -> Tensor:
    size = max(len(kernel) for kernel in kernels)
    return torch.from_numpy(np.stack([pad_kernel(kernel, size) for kernel in kernels]))


def _blur_resize_noise(
    x: Tensor,
    stage: StageSettings,
    draws: Draws,
    size: tuple[int, int],
    *,
    by_factor: bool = False,
) -> Tensor:
    """One order up to the noise; `size` is what a factor of 1 gives."""
    if draws.happens(stage.blur_probability):
        x = blur(x, _kernels(len(x), stage.blur, draws))
    low, high = stage.resize_range
    way = draws.one_of(("up", "down", "keep"), stage.resize_probabilities)
    factor = {"up": (1.0, high), "down": (low, 1.0), "keep": (1.0, 1.0)}[way]
    chosen = draws.between(*factor)
    whole = max(1, int(size[0] * chosen)), max(1, int(size[1] * chosen))
    x = resize(x, chosen if by_factor else whole, draws.one_of(_RESIZE_MODES))
    if draws.happens(stage.gaussian_probability):
        return add_gaussian_noise(x, stage.noise_sigma, stage.gray_probability, draws)
    return add_poisson_noise(x, stage.poisson_scale, stage.gray_probability, draws)


def _compress(x: Tensor, stage: StageSettings, draws: Draws) -> Tensor:
    low, high = stage.jpeg_quality
    quality = draws.uniform(len(x)) * (high - low) + low
    return jpeg(x.clamp(0, 1), quality)


def _finish(
    x: Tensor, settings: DegradationSettings, draws: Draws, size: tuple[int, int]
) -> Tensor:
    """The last resize and the ringing of a sinc filter."""
    x = resize(x, size, draws.one_of(_RESIZE_MODES))
    if not draws.happens(settings.final_sinc_probability):
        return x
    sizes = settings.second.blur.sizes
    return blur(x, _stacked([random_sinc(draws.one_of(sizes), draws) for _ in x]))
