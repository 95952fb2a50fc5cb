"""The image-space teacher: RRDBNet, the network of Real-ESRGAN x4plus, and a reader of its weights.

Its pictures are a function of the photo alone, so they are made once and kept (`scripts/
make_targets.py`). The weights are read from ncnn's two files, which the public builds of
Real-ESRGAN carry.

Source: Wang et al., ESRGAN (arXiv 1809.00219), section 3.1; Real-ESRGAN (arXiv 2107.10833).

Shapes: B batch, C channels, H and W in pixels of the photo (BCHW, RGB in [0, 1]).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimacosr.errors import ModelError

__all__ = ["RRDBNet", "load_ncnn"]

_SLOPE = 0.2  # of the leaky ReLUs
_RESIDUAL = 0.2  # factor on what a block adds
_HALF_PRECISION = 0x01306B47  # ncnn's mark before float16 weights
_SINGLE_PRECISION = 0
_WEIGHTS = re.compile(r"Convolution\s.*\s6=(\d+)")  # their number, in a line of a .param file


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class _DenseBlock(nn.Module):
    """Five convolutions, each of which sees all earlier results."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _convolution(channels + i * growth, growth if i < 4 else channels) for i in range(5)
        )

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for layer in self.layers[:4]:
            seen = torch.cat((seen, F.leaky_relu(layer(seen), _SLOPE)), dim=1)
        result: Tensor = torch.add(x, self.layers[4](seen), alpha=_RESIDUAL)
        return result


class _ResidualInResidual(nn.Module):
    """Three dense blocks with a skip around them."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_DenseBlock(channels, growth) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.blocks(x), alpha=_RESIDUAL)


class RRDBNet(nn.Module):
    """Enlarges four times.

    Args:
        channels: Width of the body.
        blocks: Number of residual-in-residual blocks.
        growth: Channels that each inner convolution of a dense block adds.
    """

    def __init__(self, channels: int = 64, blocks: int = 23, growth: int = 32) -> None:
        super().__init__()
        self.first = _convolution(3, channels)
        self.body = nn.Sequential(
            *(_ResidualInResidual(channels, growth) for _ in range(blocks)),
            _convolution(channels, channels),
        )
        self.up = nn.ModuleList(_convolution(channels, channels) for _ in range(2))
        self.fine = _convolution(channels, channels)
        self.last = _convolution(channels, 3)

    def forward(self, photo: Tensor) -> Tensor:
        """B,3,H,W to B,3,4H,4W, both RGB in [0, 1]; the result may leave that range."""
        x = self.first(photo)
        x = x + self.body(x)
        for layer in self.up:
            x = F.leaky_relu(layer(F.interpolate(x, scale_factor=2, mode="nearest")), _SLOPE)
        result: Tensor = self.last(F.leaky_relu(self.fine(x), _SLOPE))
        return result


def load_ncnn(network: RRDBNet, param: Path) -> RRDBNet:
    """Fill a network with the weights of ncnn's `param` and the `.bin` beside it.

    Args:
        network: Changed in place and returned; its convolutions lie in the order of the file.
        param: ncnn's description of the network, e.g. `realesrgan-x4plus.param`.

    Raises:
        ModelError: A file is not there, holds another network, is cut short, or stores the weights
            in a way that is neither float32 nor float16.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    shapes = [layer.weight.numel() for layer in layers]
    lines = _bytes_of(param).decode(errors="replace").splitlines()
    counts = [int(found[1]) for line in lines if (found := _WEIGHTS.match(line))]
    if counts != shapes:
        raise ModelError(
            f"{param}: {len(counts)} convolutions that are not those of this RRDBNet "
            f"({len(shapes)}); the teacher is realesrgan-x4plus"
        )
    data = param.with_suffix(".bin")
    with torch.no_grad():
        for layer, (weight, bias) in zip(layers, _read_weights(data, layers), strict=True):
            layer.weight.copy_(torch.from_numpy(weight).view_as(layer.weight))
            assert layer.bias is not None
            layer.bias.copy_(torch.from_numpy(bias))
    return network


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror})") from error


def _read_weights(path: Path, layers: list[nn.Conv2d]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Weight (float32, flat) and bias of each layer, as they follow each other in the file."""
    data, at = _bytes_of(path), 0
    for layer in layers:
        count, outputs = layer.weight.numel(), layer.out_channels
        mark = int.from_bytes(data[at : at + 4], "little")
        if mark not in (_HALF_PRECISION, _SINGLE_PRECISION):
            raise ModelError(f"{path}: weights stored as {mark:#x}, not float32 or float16")
        kind = "<f2" if mark == _HALF_PRECISION else "<f4"
        start = at + 4
        at = start + (count * np.dtype(kind).itemsize + 3) // 4 * 4  # padded to whole words
        if at + 4 * outputs > len(data):
            raise ModelError(f"{path} is cut short; fetch it again")
        weight = np.frombuffer(data, kind, count, start).astype(np.float32)
        yield weight, np.frombuffer(data, "<f4", outputs, at).copy()
        at += 4 * outputs
