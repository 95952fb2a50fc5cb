"""A teacher in picture space: its pictures, which depend on the input alone, as part of the truth.

Shapes: B batch, H and W in pixels (BCHW, RGB in [0, 1]).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bimacosr.data.loading import Batch
from bimacosr.train.draws import StepDraws
from bimacosr.train.pool import TeacherPool

__all__ = ["PictureTeacher"]


class PictureTeacher:
    """Mixes the pictures of a network, such as Real-ESRGAN's, into the truth.

    Args:
        network: From low-quality to enlarged pictures, frozen; the result may leave [0, 1].
        pool: Where its pictures are kept; None computes them every time.
    """

    def __init__(self, network: nn.Module, pool: TeacherPool | None = None) -> None:
        self.network, self.pool = network, pool

    @torch.no_grad()
    def target(self, batch: Batch, draws: StepDraws, share: float) -> Tensor:
        """What the picture terms compare with: `share` of the teacher's picture, the rest truth.

        The teacher's picture has the mean colour of the truth, since teachers shift it.
        """
        taught = self.pool.find(draws.samples) if self.pool else None
        if taught is None:
            taught = self.network(batch.lq).clamp(0, 1)
            if self.pool:
                self.pool.keep(draws.samples, taught)
        taught = taught.to(batch.hq)
        taught = taught + (batch.hq - taught).mean((2, 3), keepdim=True)
        return torch.lerp(batch.hq, taught, share)
