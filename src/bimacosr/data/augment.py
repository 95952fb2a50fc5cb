"""Which part of a clean picture is shown to the training, and which way round.

Shapes: B batch, H and W in pixels (BCHW), values in [0, 1]; pictures HWC uint8.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bimacosr.data.draws import Draws
from bimacosr.data.photos import Pixels

__all__ = ["area_resize", "flip_and_turn", "pad_to", "random_square"]


def pad_to(pixels: Pixels, least_px: int) -> Pixels:
    """Continue a picture by its reflection, to the right and below, to sides of `least_px`."""
    below, right = (max(0, least_px - side) for side in pixels.shape[:2])
    return np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="reflect")


def random_square(pixels: Pixels, side_px: int, draws: Draws) -> Pixels:
    """A square of that side at a random place; what is smaller is padded first."""
    pixels = pad_to(pixels, side_px)
    top, left = (draws.one_of(range(side - side_px + 1)) for side in pixels.shape[:2])
    return pixels[top : top + side_px, left : left + side_px]


def area_resize(pictures: Tensor, side_px: int) -> Tensor:
    """Reduce squares to that side: each pixel the mean of the area it covers, parts counted.

    Source: what OpenCV calls INTER_AREA, with which the official training reduces photos.
    """
    weights = _coverage(pictures.shape[-1], side_px).to(pictures)
    return weights @ pictures @ weights.T


def flip_and_turn(
    pictures: tuple[Tensor, ...], draws: Draws, *, flip: bool, turn: bool
) -> tuple[Tensor, ...]:
    """Mirror all pictures by the same chance of one half, and turn them by 0 to 3 right angles."""
    if flip and draws.happens(0.5):
        pictures = tuple(picture.flip(-1) for picture in pictures)
    if turn:
        quarters = draws.one_of(range(4))
        pictures = tuple(torch.rot90(picture, quarters, (-2, -1)) for picture in pictures)
    return pictures


def _coverage(size: int, to: int) -> Tensor:
    """to x size: the part of output pixel i that input pixel j covers."""
    edges = torch.arange(to + 1, dtype=torch.float64) * (size / to)
    left, right = edges[:-1, None], edges[1:, None]
    at = torch.arange(size, dtype=torch.float64)
    overlap = torch.minimum(right, at + 1) - torch.maximum(left, at)
    return overlap.clamp(min=0) * (to / size)
