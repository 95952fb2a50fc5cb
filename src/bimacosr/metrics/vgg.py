"""The convolutions of VGG16, which LPIPS and DISTS look through.

Source: Simonyan and Zisserman 2014, Very deep convolutional networks, arXiv:1409.1556, net D.
"""

from __future__ import annotations

from torch import nn

__all__ = ["TAPS", "WEIGHT_FILE", "vgg16"]

WEIGHT_FILE = "lpips_vgg16.safetensors"
"""`features.*` with torchvision's names, and `lin0` to `lin4` of LPIPS."""

TAPS = {3: 64, 8: 128, 15: 256, 22: 512, 29: 512}
"""Index of the last ReLU of each stage, and its channels."""

_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg16() -> nn.Sequential:
    """VGG16 up to its last ReLU, with torchvision's indices; pooling between stages."""
    layers: list[nn.Module] = []
    channels_in = 3
    for stage in _STAGES:
        if layers:
            layers.append(nn.MaxPool2d(2))
        for channels in stage:
            layers += [nn.Conv2d(channels_in, channels, 3, padding=1), nn.ReLU()]
            channels_in = channels
    return nn.Sequential(*layers)
