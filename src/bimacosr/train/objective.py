"""One forward pass from a batch to its loss, as a module, so that DDP sees it as one."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bimacosr.config.train import PhaseSettings
from bimacosr.data.loading import Batch
from bimacosr.train.distributed import World
from bimacosr.train.draws import StepDraws
from bimacosr.train.stage import Stage

__all__ = ["Gradients", "Objective"]


class Objective(nn.Module):
    """The loss of a stage.

    A loss may ask the network several times; DDP allows that only inside one forward pass, so it
    is the loss that is wrapped, not the network.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.network, self.helpers = stage.network, stage.helpers
        self.stage = stage

    def forward(
        self, batch: Batch, draws: StepDraws, phase: PhaseSettings
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and its terms without gradients."""
        loss = self.stage.loss(batch, draws, phase)
        return loss.total, {name: term.detach() for name, term in loss.terms.items()}


class Gradients:
    """Computes the gradient of a batch: in parts, and averaged over all processes.

    Args:
        stage: Whose loss; what requires a gradient is settled now.
        world: The processes.
        parts: In how many parts a process computes its share.
    """

    def __init__(self, stage: Stage, world: World, parts: int) -> None:
        self.objective: nn.Module = Objective(stage)
        self.parts = parts
        if world.size > 1:
            self.objective = DistributedDataParallel(
                self.objective, find_unused_parameters=True, broadcast_buffers=False
            )

    def add(self, batch: Batch, draws: StepDraws, phase: PhaseSettings) -> dict[str, Tensor]:
        """Add the gradient of the mean loss of `batch`; its terms, "loss" first."""
        size = len(batch.lq)
        step = -(-size // self.parts)
        means: dict[str, Tensor] = {}
        for start in range(0, size, step):
            part = slice(start, start + step)
            piece = Batch(batch.lq[part], batch.hq[part], batch.index[part])
            share = len(piece.lq) / size
            with nullcontext() if start + step >= size else self._alone():
                total, terms = self.objective(piece, draws.part(part), phase)
                (share * total).backward()
            for name, term in ({"loss": total.detach()} | terms).items():
                means[name] = means.get(name, 0.0) + share * term
        return means

    def _alone(self) -> AbstractContextManager[None]:
        """No exchange of gradients after this part."""
        if isinstance(self.objective, DistributedDataParallel):
            return self.objective.no_sync()
        return nullcontext()
