"""Pixels as tensors, and as the bytes of a file.

Shapes: H height, W width; pixels HWC, RGB, uint8; tensors 1,3,H,W in [0, 1].
"""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

from bimacosr.config.picture import OutputSettings
from bimacosr.data.photos import Pixels
from bimacosr.io.formats import format_for
from bimacosr.io.metadata import Metadata

__all__ = ["encode_png", "to_pixels", "to_tensor"]


def to_tensor(pixels: Pixels, device: str | torch.device = "cpu") -> Tensor:
    """HWC pixels as 1,3,H,W float32 in [0, 1]."""
    return torch.tensor(pixels, device=device).permute(2, 0, 1)[None].float() / 255


def to_pixels(picture: Tensor) -> Pixels:
    """A 1,3,H,W picture in [0, 1] as HWC pixels, halves rounded to even."""
    scaled = (picture[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    pixels: Pixels = np.ascontiguousarray(scaled.cpu().numpy())
    return pixels


def encode_png(pixels: Pixels) -> bytes:
    """The PNG file of HWC pixels, the same bytes for the same pixels."""
    file = io.BytesIO()
    format_for("png").write(file, pixels, None, Metadata(), OutputSettings())
    return file.getvalue()
