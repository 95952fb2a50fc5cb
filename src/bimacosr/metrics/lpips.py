"""LPIPS v0.1: the distance of two pictures in the features of a classifier; 0 is equal.

With AlexNet it judges, and never enters a loss; with SqueezeNet or VGG16 it may be trained with.
The networks carry torchvision's names, so a weight file is their state dict.

Shapes: B batch, C channels, H height, W width; maps are BCHW.
Source: Zhang et al. 2018, The unreasonable effectiveness of deep features as a perceptual metric,
arXiv:1801.03924, eq. 1; constants of richzhang/PerceptualSimilarity, version 0.1.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bimacosr.errors import ModelError, OptionError
from bimacosr.metrics.pairs import check_pair
from bimacosr.metrics.vgg import TAPS as VGG_TAPS
from bimacosr.metrics.vgg import WEIGHT_FILE as VGG_WEIGHT_FILE
from bimacosr.metrics.vgg import vgg16
from bimacosr.metrics.weights import read_tensors

__all__ = ["NETWORKS", "Lpips", "load_lpips"]

_SHIFT = (-0.030, -0.088, -0.188)  # of the input in [-1, 1], by channel
_SCALE = (0.458, 0.448, 0.450)
_NORM_EPS = 1e-10  # added to the length of a feature vector; its square, under the root


class Fire(nn.Module):
    """SqueezeNet's module: a 1x1 convolution to few channels, 1x1 and 3x3 ones from there.

    Source: Iandola et al. 2016, SqueezeNet, arXiv:1602.07360, sec. 3.2.
    """

    def __init__(self, channels_in: int, channels_mid: int, channels_each: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels_in, channels_mid, 1)
        self.expand1x1 = nn.Conv2d(channels_mid, channels_each, 1)
        self.expand3x3 = nn.Conv2d(channels_mid, channels_each, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map BCHW to B(2 * channels_each)HW, not negative."""
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], 1).relu()


def _alexnet() -> nn.Sequential:
    """The convolutions of AlexNet (Krizhevsky 2014, arXiv:1404.5997) up to the last tap."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    )


def _squeezenet() -> nn.Sequential:
    """The convolutions of SqueezeNet 1.1."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(Fire(64, 16, 64), Fire(128, 16, 64), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(Fire(128, 32, 128), Fire(256, 32, 128), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)),
    )


class Network(NamedTuple):
    """What LPIPS needs to know of one classifier."""

    build: Callable[[], nn.Sequential]
    """Makes the convolutions, with torchvision's indices."""
    taps: dict[int, int]
    """Index of each layer whose output is compared, and its channels."""
    min_px: int
    """Shortest side of a picture that reaches the last tap, pixels."""
    weight_file: str
    """Name of the file with `features.*` and `lin0`, `lin1`..."""


NETWORKS = {
    "alex": Network(
        _alexnet, {1: 64, 4: 192, 7: 384, 9: 256, 11: 256}, 31, "lpips_alex.safetensors"
    ),
    "squeeze": Network(
        _squeezenet,
        {1: 64, 4: 128, 7: 256, 9: 384, 10: 384, 11: 512, 12: 512},
        17,
        "lpips_squeeze.safetensors",
    ),
    "vgg": Network(vgg16, VGG_TAPS, 16, VGG_WEIGHT_FILE),
}
"""The classifiers by name."""


class Lpips(nn.Module):
    """LPIPS with one classifier; differentiable, its own weights frozen.

    The weights come from `load_lpips`; a bare `Lpips` has none (they lie on the meta device).
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        with torch.device("meta"):  # draws nothing from the random numbers of a training
            self.features = network.build()
        self.taps = tuple(network.taps)
        self.min_px = network.min_px
        for i, channels in enumerate(network.taps.values()):
            self.register_buffer(f"lin{i}", torch.empty(channels, device="meta"))
        for name, rgb in (("shift", _SHIFT), ("scale", _SCALE)):
            self.register_buffer(name, torch.tensor(rgb).view(1, 3, 1, 1), persistent=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distance of each pair: B values, 0 where equal.

        Args:
            a: Pictures, B3HW RGB in [0, 1], of the type of the weights (float32).
            b: The pictures to compare with, same shape and range.

        Raises:
            OptionError: The shapes differ, or a side is under the network's `min_px`.
        """
        check_pair(a, b, self.min_px)
        distance = a.new_zeros(len(a))
        for i, (p, q) in enumerate(zip(self._directions(a), self._directions(b), strict=True)):
            weight = self.get_buffer(f"lin{i}").view(1, -1, 1, 1)
            distance = distance + ((p - q).square() * weight).sum(1).mean((1, 2))
        return distance

    def _directions(self, x: Tensor) -> list[Tensor]:
        """The feature vectors of each tap, scaled to unit length."""
        x = (2 * x - 1 - self.get_buffer("shift")) / self.get_buffer("scale")
        maps = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.taps:
                # the term under the root: a finite gradient where every channel is 0
                length = (x.square().sum(1, keepdim=True) + _NORM_EPS**2).sqrt()
                maps.append(x / (length + _NORM_EPS))
        return maps


def load_lpips(
    network: str, weights_dir: str | Path | None, device: str | torch.device = "cpu"
) -> Lpips:
    """Load LPIPS with the weights of `network`, one of `NETWORKS`, from `weights_dir`.

    Returns:
        A frozen module on `device`: `f(a, b)` gives one value for each pair of pictures.

    Raises:
        OptionError: `network` is unknown.
        ModelError: The weight file is missing, damaged, or of another network.
    """
    if network not in NETWORKS:
        raise OptionError(f"LPIPS has no network {network!r}; it has {', '.join(NETWORKS)}")
    spec = NETWORKS[network]
    tensors = read_tensors(weights_dir, spec.weight_file)
    lpips = Lpips(spec)
    try:
        lpips.load_state_dict({k: v.float() for k, v in tensors.items()}, assign=True)
    except RuntimeError as error:
        raise ModelError(
            f"{spec.weight_file} in {weights_dir} does not hold the weights of LPIPS-{network}"
        ) from error
    return lpips.requires_grad_(False).eval().to(device)
