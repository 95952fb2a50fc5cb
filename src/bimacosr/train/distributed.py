"""The processes of a training: one, or as many as torchrun started, each with its own device."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from bimacosr.errors import BackendError

__all__ = ["World", "open_world"]


@dataclass(frozen=True)
class World:
    """All processes together, seen from one of them."""

    rank: int
    """Number of this process, from 0; process 0 writes files and talks to the user."""

    size: int
    """How many there are."""

    device: torch.device
    """Where this one computes."""

    @property
    def leads(self) -> bool:
        """Whether this is process 0."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """Mean of `values` over all processes; the same numbers everywhere."""
        if self.size > 1:
            dist.all_reduce(values)
            values = values / self.size
        return values

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def open_world(device: str) -> Iterator[World]:
    """Join the processes that torchrun started; alone without it.

    Args:
        device: "auto", "cpu" or "cuda"; with several GPUs in a machine each process takes the one
            of its local rank.

    Raises:
        BackendError: the device is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BackendError(f"the device {device!r} is not there: PyTorch sees no GPU; take cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise BackendError(f"there is no device {device!r}; take cpu or cuda") from error
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, place)
        return
    if place.type == "cuda":
        place = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), size, place)
    finally:
        # What still holds the group (DDP, in cycles of references) goes first: threads of a group
        # that outlives this would be cut off when Python ends, and abort the process.
        gc.collect()
        dist.destroy_process_group()
