"""What the loop asks of a stage: a network, and the loss of a batch. It knows no more of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from bimacosr.config.train import PhaseSettings
from bimacosr.data.loading import Batch
from bimacosr.train.draws import StepDraws

__all__ = ["Stage", "StageLoss", "weighted_sum"]


@dataclass(frozen=True)
class StageLoss:
    """The loss of a batch."""

    total: Tensor
    """One number, with its gradient: the mean over the batch."""

    terms: dict[str, Tensor]
    """Its parts before their weights, one number each, for the log."""


class Stage(Protocol):
    """One stage of the training."""

    network: nn.Module
    """What is trained, averaged and handed on."""

    helpers: nn.Module
    """What is trained beside it, such as a discriminator."""

    def loss(self, batch: Batch, draws: StepDraws, phase: PhaseSettings) -> StageLoss:
        """The loss of a batch, or of a part of one, in a phase."""

    def result(self, network: nn.Module, batch: Batch, draws: StepDraws) -> Tensor:
        """What `network` makes of the low-quality pictures, B,3,sH,sW in [0, 1]."""


def weighted_sum(terms: dict[str, Tensor], phase: PhaseSettings) -> Tensor:
    """The total of `terms` by the weights of a phase; the discriminator's own loss counts whole."""
    total = None
    for name, term in terms.items():
        weight = 1.0 if name == "discriminator" else getattr(phase.weights, name)
        total = weight * term if total is None else total + weight * term
    assert total is not None
    return total
