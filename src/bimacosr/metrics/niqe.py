"""NIQE: how far the statistics of one picture are from those of sharp photographs; lower is better.

Shapes: B batch, H height, W width; N blocks of a picture, F = 36 features (18 of each of two
scales). Everything is float64: the features of flat blocks are differences of rounding noise.
Source: Mittal et al. 2013, Making a "completely blind" image quality analyzer, IEEE Signal
Processing Letters 20(3); MATLAB code and pristine model of LIVE, UT Austin, as BasicSR has them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bimacosr.errors import ModelError, OptionError
from bimacosr.metrics.color import gray, luma
from bimacosr.metrics.pairs import check_pictures
from bimacosr.metrics.weights import read_tensors

__all__ = ["PLANES", "WEIGHT_FILE", "PristineModel", "load_niqe", "niqe"]

WEIGHT_FILE = "niqe.safetensors"
PLANES: dict[str, Callable[[Tensor], Tensor]] = {"luma": luma, "gray": gray}
"""What may be measured: the luma of BasicSR, or the gray of MATLAB's script and pyiqa."""

_BLOCK_PX = 96  # on the first scale; half of it on the second
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # of the products, (down, right)
_FLAT = 1e-9  # a smaller difference to the local mean is rounding noise and has no sign
_SHAPES = torch.arange(200, 10001, dtype=torch.float64) / 1000  # candidates of the fit


class PristineModel(NamedTuple):
    """The Gaussian that the features of sharp photographs follow."""

    mean: Tensor
    """F values."""
    cov: Tensor
    """FxF values."""
    window: Tensor
    """7x7 weights of the local mean and deviation."""


def load_niqe(
    weights_dir: str | Path | None, plane: str = "luma", device: str | torch.device = "cpu"
) -> Callable[[Tensor], Tensor]:
    """Load NIQE on `plane` ("luma" or "gray") with the pristine model in `weights_dir`.

    Returns:
        A function of B3HW RGB in [0, 1] on `device` that gives B values; nan for a picture
        with less than two blocks of 96x96 px that are not flat.

    Raises:
        OptionError: `plane` is unknown; from the function, the shape is no picture's.
        ModelError: The weight file is missing, damaged, or another metric's.
    """
    if plane not in PLANES:
        raise OptionError(f"NIQE has no plane {plane!r}; it has {', '.join(PLANES)}")
    tensors = read_tensors(weights_dir, WEIGHT_FILE)
    names = ("mu_pris_param", "cov_pris_param", "gaussian_window")
    if tensors.keys() != set(names):
        raise ModelError(f"{WEIGHT_FILE} in {weights_dir} does not hold the model of NIQE")
    mean, cov, window = (tensors[name].double().to(device) for name in names)
    model = PristineModel(mean.flatten(), cov, window)

    def measure(pictures: Tensor) -> Tensor:
        check_pictures(pictures)
        return torch.stack([niqe(plane_HW, model) for plane_HW in PLANES[plane](pictures)[:, 0]])

    return measure


def niqe(plane_HW: Tensor, model: PristineModel) -> Tensor:
    """Return the NIQE of one plane on the scale 0..255, whole numbers; a scalar.

    Blocks start at the top left; what does not fill one is left out. nan without two blocks.
    """
    rows, columns = (side // _BLOCK_PX for side in plane_HW.shape)
    if rows * columns < 2:
        return plane_HW.new_full((), torch.nan, dtype=torch.float64)
    x = plane_HW.double()[None, None, : rows * _BLOCK_PX, : columns * _BLOCK_PX]
    whole_NF = _features(_blocks(_normalize(x, model.window), rows, columns))
    half_NF = _features(_blocks(_normalize(_halve(x), model.window), rows, columns))
    features_NF = torch.cat([whole_NF, half_NF], 1)
    difference_F = model.mean - features_NF.nanmean(0)
    features_NF = features_NF[~features_NF.isnan().any(1)]
    if len(features_NF) < 2:
        return x.new_full((), torch.nan)
    cov_FF = (model.cov + features_NF.T.cov()) / 2
    inverse_FF: Tensor = torch.linalg.pinv(cov_FF)
    return (difference_F @ inverse_FF @ difference_F).sqrt()


def _normalize(x: Tensor, window: Tensor) -> Tensor:
    """Subtract the local mean of 11HW, divide by the local deviation plus 1; edges are repeated."""
    kernel = window[None, None]
    padded = F.pad(x, (3, 3, 3, 3), mode="replicate")
    mean = F.conv2d(padded, kernel)
    deviation = (F.conv2d(padded.square(), kernel) - mean.square()).abs().sqrt()
    difference = x - mean
    return difference.masked_fill(difference.abs() < _FLAT, 0) / (deviation + 1)


def _blocks(x: Tensor, rows: int, columns: int) -> Tensor:
    """Cut 11HW into rows * columns blocks: NHW, column after column as MATLAB goes."""
    height, width = x.shape[2] // rows, x.shape[3] // columns
    blocks = x.reshape(rows, height, columns, width)
    return blocks.permute(2, 0, 1, 3).reshape(-1, height, width)


def _features(blocks_NHW: Tensor) -> Tensor:
    """The 18 features of each block: shapes and widths of the values and of products of two.

    Neighbours wrap around the edges of a block. A block without values of both signs gives nan.
    """
    alpha, left, right = _fit(blocks_NHW)
    features = [alpha, (left + right) / 2]
    for shift in _NEIGHBOURS:
        alpha, left, right = _fit(blocks_NHW * blocks_NHW.roll(shift, (1, 2)))
        mean = (right - left) * (torch.lgamma(2 / alpha) - torch.lgamma(1 / alpha)).exp()
        features += [alpha, mean, left, right]
    return torch.stack(features, 1)


def _fit(samples_NHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fit an asymmetric generalized Gaussian to each block by its moments.

    Returns:
        Shape in 0.2..10, left and right width, N each.

    Source: Lasmar et al. 2009, Multiscale skewed heavy tailed model for texture analysis, sec. 2.
    """
    x = samples_NHW.flatten(1)
    left, right = (((x.square() * side).sum(1) / side.sum(1)).sqrt() for side in ((x < 0), (x > 0)))
    skew = left / right
    moments = x.abs().mean(1).square() / x.square().mean(1)
    moments = moments * (skew**3 + 1) * (skew + 1) / (skew**2 + 1).square()
    shapes = _SHAPES.to(x.device)
    log_ratio = 2 * torch.lgamma(2 / shapes) - torch.lgamma(1 / shapes) - torch.lgamma(3 / shapes)
    alpha = shapes[(log_ratio.exp() - moments[:, None]).abs().argmin(1)]
    width = ((torch.lgamma(1 / alpha) - torch.lgamma(3 / alpha)) / 2).exp()
    return alpha, left * width, right * width


def _halve(x: Tensor) -> Tensor:
    """MATLAB's imresize(x, 0.5) of 11HW, H and W even: antialiased bicubic, mirrored edges."""
    distance = (torch.arange(8, dtype=x.dtype, device=x.device) - 3.5).abs() / 2
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    kernel = torch.where(distance <= 1, near, far)
    kernel = kernel / kernel.sum()
    for dim, shape, stride in ((2, (1, 1, 8, 1), (2, 1)), (3, (1, 1, 1, 8), (1, 2))):
        first, last = x.narrow(dim, 0, 3), x.narrow(dim, x.shape[dim] - 3, 3)
        x = torch.cat([first.flip(dim), x, last.flip(dim)], dim)
        x = F.conv2d(x, kernel.view(shape), stride=stride)
    return x
