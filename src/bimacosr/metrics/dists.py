"""DISTS: how unlike two pictures are in the means and covariances of VGG16's maps; 0 is equal.

Shapes: B batch, C channels, H height, W width; maps are BCHW.
Source: Ding et al. 2020, Image quality assessment: unifying structure and texture similarity,
arXiv:2004.07728, eqs. 4 to 6; constants of dingkeyan93/DISTS.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimacosr.errors import ModelError
from bimacosr.metrics.pairs import check_pair
from bimacosr.metrics.vgg import TAPS, WEIGHT_FILE, vgg16
from bimacosr.metrics.weights import read_tensors

__all__ = ["WEIGHT_FILES", "Dists", "load_dists"]

WEIGHT_FILES = ("dists.safetensors", WEIGHT_FILE)
"""`alpha` and `beta`, a weight for each of 1475 channels; and VGG16."""

_CHANNELS = (3, *TAPS.values())  # the picture itself is the first map
_MEAN = (0.485, 0.456, 0.406)  # ImageNet's, by channel
_STD = (0.229, 0.224, 0.225)
_C = 1e-6  # keeps both ratios finite on flat maps
_ROOT_EPS = 1e-12  # keeps the gradient of the pooling's root finite
_MIN_PX = 16  # four poolings leave one pixel


class HanningPool(nn.Module):
    """The root of a 3x3 Hanning mean of squares, every second pixel: pools without aliasing."""

    def forward(self, x: Tensor) -> Tensor:
        """Map BCHW to BC(H/2)(W/2), sides rounded up."""
        edge = torch.tensor([0.5, 1.0, 0.5], dtype=x.dtype, device=x.device)
        kernel = (edge[:, None] * edge / 4).expand(x.shape[1], 1, 3, 3)
        squares = F.conv2d(x.square(), kernel, stride=2, padding=1, groups=x.shape[1])
        return (squares + _ROOT_EPS).sqrt()


class Dists(nn.Module):
    """DISTS; differentiable. The weights come from `load_dists`; a bare `Dists` has none."""

    def __init__(self) -> None:
        super().__init__()
        with torch.device("meta"):
            layers = (HanningPool() if isinstance(m, nn.MaxPool2d) else m for m in vgg16())
            self.features = nn.Sequential(*layers)
        for name in ("alpha", "beta"):
            self.register_buffer(name, torch.empty(sum(_CHANNELS), device="meta"))
        for name, rgb in (("mean", _MEAN), ("std", _STD)):
            self.register_buffer(name, torch.tensor(rgb).view(1, 3, 1, 1), persistent=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distance of each pair: B values, 0 where equal.

        Args:
            a: Pictures, B3HW RGB in [0, 1], float32, 16 px a side at least.
            b: The pictures to compare with, same shape and range.

        Raises:
            OptionError: The shapes differ, or a side is too short.
        """
        check_pair(a, b, _MIN_PX)
        total = self.get_buffer("alpha").sum() + self.get_buffer("beta").sum()
        alphas, betas = (
            torch.split(self.get_buffer(name), list(_CHANNELS)) for name in ("alpha", "beta")
        )
        likeness = a.new_zeros(len(a))
        for p, q, alpha, beta in zip(self._maps(a), self._maps(b), alphas, betas, strict=True):
            mean_p, mean_q = p.mean((2, 3)), q.mean((2, 3))
            var_p, var_q = (t.var((2, 3), correction=0) for t in (p, q))
            cov = (p * q).mean((2, 3)) - mean_p * mean_q
            texture = (2 * mean_p * mean_q + _C) / (mean_p.square() + mean_q.square() + _C)
            structure = (2 * cov + _C) / (var_p + var_q + _C)
            likeness = likeness + (alpha * texture + beta * structure).sum(1)
        return 1 - likeness / total

    def _maps(self, x: Tensor) -> list[Tensor]:
        """The picture and the last map of each stage."""
        maps = [x]
        x = (x - self.get_buffer("mean")) / self.get_buffer("std")
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in TAPS:
                maps.append(x)
        return maps


def load_dists(weights_dir: str | Path | None, device: str | torch.device = "cpu") -> Dists:
    """Load DISTS with the weights in `weights_dir`: a frozen module on `device`.

    Raises:
        ModelError: A weight file is missing, damaged, or holds something else.
    """
    tensors: dict[str, Tensor] = {}
    for name in WEIGHT_FILES:
        found = read_tensors(weights_dir, name)
        tensors |= {k: v.float() for k, v in found.items() if not k.startswith("lin")}
    dists = Dists()
    try:
        dists.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise ModelError(
            f"{' and '.join(WEIGHT_FILES)} in {weights_dir} do not hold the weights of DISTS"
        ) from error
    return dists.requires_grad_(False).eval().to(device)
