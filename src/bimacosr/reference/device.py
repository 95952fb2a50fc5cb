"""Where PyTorch computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bimacosr.errors import BackendError

__all__ = ["memory_errors", "open_device"]


def open_device(name: str) -> torch.device:
    """The device that `torch.device` calls so.

    Raises:
        BackendError: it is not there.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BackendError(
            f"PyTorch cannot use the device {name!r} ({reason}); choose cpu"
        ) from error
    return device


@contextmanager
def memory_errors() -> Iterator[None]:
    """Raise `MemoryError` where PyTorch says in other ways that memory is used up."""
    try:
        yield
    except torch.OutOfMemoryError as error:  # of a GPU
        raise MemoryError(str(error)) from error
    except RuntimeError as error:
        if "memory" in str(error) and "allocate" in str(error):  # of the CPU
            raise MemoryError(str(error)) from error
        raise
