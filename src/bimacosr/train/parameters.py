"""Which parameters a phase trains, and the optimisers that move them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from bimacosr.config.train import OptimiserSettings, PhaseSettings, TrainRecipe
from bimacosr.errors import OptionError, TrainingError
from bimacosr.pack.effect import has_no_effect
from bimacosr.train.stage import Stage

__all__ = ["choose_trained", "load_optimiser", "make_optimisers"]

_BRANCHES = (".lora.", ".skip_connection.")
_DISCRIMINATOR_BETAS = (0.5, 0.99)


def choose_trained(stage: Stage, recipe: TrainRecipe, phase: PhaseSettings) -> None:
    """Let the network's parameters have a gradient as `phase.trains` says.

    Parameters without effect never have one: the BiDM filter for example, which is set to an
    average whenever a student is loaded, would otherwise be trained in vain.

    Raises:
        OptionError: the network has no branches to choose.
    """
    method = recipe.binarize.method if recipe.stage == "binarize" else ""
    if phase.trains != "all" and method != "bimacosr":
        raise OptionError(
            f"the phase {phase.name!r} trains {phase.trains!r}; only a student of bimacosr has"
            " branches, so it must be 'all'"
        )
    for name, parameter in stage.network.named_parameters():
        wanted = phase.trains == "all" or (phase.trains == "branches") == is_branch(name)
        parameter.requires_grad_(wanted and not has_no_effect(stage.network, name, method))


def is_branch(name: str) -> bool:
    """Whether a parameter belongs to a low-rank or sparse branch."""
    return any(branch in name for branch in _BRANCHES)


def make_optimisers(stage: Stage, settings: OptimiserSettings) -> list[torch.optim.Optimizer]:
    """That of the network, and after it that of the discriminator where there is one."""
    found: list[torch.optim.Optimizer] = []
    first, second = settings.betas
    for module, rate, betas, decay in (
        (stage.network, 0.0, (first, second), settings.weight_decay),
        (stage.helpers, settings.discriminator_rate, _DISCRIMINATOR_BETAS, 0.0),
    ):
        trained = trained_parameters(module)
        if trained:
            found.append(torch.optim.AdamW(trained, rate, betas=betas, weight_decay=decay))
    return found


def load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any], path: Path) -> None:
    """Take up the moments of a checkpoint.

    Raises:
        TrainingError: they are of other parameters.
    """
    try:
        optimiser.load_state_dict(state)
    except ValueError as error:
        raise TrainingError(
            f"{path} lies in the middle of a phase that trained other parameters than the recipe's"
            " phase does now; give its weights as --start of a new run"
        ) from error


def trained_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that have a gradient."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
