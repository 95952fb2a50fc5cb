"""Sample pictures of a run, laid out to be looked at."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bimacosr.data.loading import Batch

__all__ = ["sample_strip"]


def sample_strip(batch: Batch, result: Tensor) -> Tensor:
    """Enlarged input, result and truth side by side, a row for each sample, 3,H,W in [0, 1]."""
    size = (batch.hq.shape[2], batch.hq.shape[3])
    bicubic = F.interpolate(batch.lq, size, mode="bicubic").clamp(0, 1)
    rows = torch.cat([bicubic, result, batch.hq], dim=3)
    return torch.cat(list(rows), dim=1)
