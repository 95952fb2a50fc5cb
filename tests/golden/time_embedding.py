"""The time embedding of the machine that made the goldens, for runs where its last bit counts.

torch takes float32 exponentials from MKL, whose last bit depends on the processor: of the full
network's 80 frequencies, some differ by one unit in the last place between Intel and AMD. In
float64 that is a deviation of 1e-8, so that the float64 runs are fed with the stored numbers.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bimacosr.networks import unet
from tests.golden import reference as ref

TIMES = (0, 1, 3, 7, 14)


def stored_time_embedding(t: Tensor, dim: int) -> Tensor:
    """`timestep_embedding` for the times and widths of the goldens, their bits."""
    name = {32: "unet_fp_tiny", 160: "unet_fp_full"}[dim]
    rows = [TIMES.index(int(time)) for time in t]
    return ref.tensors(name)["timestep_embedding_f32"][rows]


def feed_stored_time_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every UNet the stored embedding instead of its own."""
    monkeypatch.setattr(unet, "timestep_embedding", stored_time_embedding)


def last_bits(dim: int) -> Tensor:
    """How far the stored embedding may be from ours: a bit of the frequency, and one of its own."""
    half = dim // 2
    frequencies = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.tensor(TIMES, dtype=torch.float64)[:, None] * frequencies
    return (torch.cat([angles, angles], dim=1) + 1) * 2.0**-23
