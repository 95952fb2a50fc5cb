"""What a training leaves behind when its loss is no number any more: which step, which pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import nn

from bimacosr.errors import TrainingError
from bimacosr.io.atomic import atomic_file

__all__ = ["stop_at_nan"]

_SHOWN = 10


def stop_at_nan(
    run: Path,
    *,
    rank: int,
    step: int,
    terms: dict[str, float],
    gradient_norm: float,
    network: nn.Module,
    samples: list[int],
    pictures: list[str],
    last_good: Path | None,
) -> TrainingError:
    """The error that ends a run whose loss or gradient is NaN or infinite; its report is written.

    The step was not taken: the weights are those before it.

    Args:
        run: Folder of the run; the report goes to `failure_step_N.json` in it.
        rank: Number of this process; each but the first adds it to the report's name.
        step: Number of the step, from 0.
        terms: The loss and its terms.
        gradient_norm: Of the whole gradient.
        network: The network, whose largest gradients and weights are told.
        samples: Numbers of this process's samples.
        pictures: Their files.
        last_good: The newest checkpoint.
    """
    report = run / f"failure_step_{step:08d}{f'_rank{rank}' if rank else ''}.json"
    facts = {
        "step": step,
        "terms": terms,
        "gradient_norm": gradient_norm,
        "samples": samples,
        "pictures": pictures,
        "largest_gradient_norms": largest(
            {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
        ),
        "largest_weight_norms": largest(dict(network.named_parameters())),
        "last_good": None if last_good is None else str(last_good),
    }
    with atomic_file(report) as file:
        file.write(json.dumps(facts, indent=1).encode())
    bad = [name for name, value in terms.items() if not math.isfinite(value)]
    what = f"the loss ({', '.join(bad)})" if bad else "the gradient"
    kept = "no checkpoint was written yet" if last_good is None else f"{last_good} is kept"
    return TrainingError(
        f"{what} is no finite number at step {step}: see {report}; {kept}; lower the learning rate"
        " and resume"
    )


def largest(tensors: dict[str, torch.Tensor]) -> dict[str, float]:
    """The largest norms by name, those that are no numbers first."""
    norms = {name: float(tensor.detach().float().norm()) for name, tensor in tensors.items()}
    order = sorted(norms, key=lambda n: -norms[n] if math.isfinite(norms[n]) else -math.inf)
    return {name: norms[name] for name in order[:_SHOWN]}
