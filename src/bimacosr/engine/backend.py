"""The native backend: runs a packed model without PyTorch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from bimacosr import noise
from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.config.edge import EdgeSettings
from bimacosr.engine.edge import build_edge
from bimacosr.engine.native import choose_instruction_set, open_native
from bimacosr.errors import ModelError
from bimacosr.pack.format import PackedModel
from bimacosr.tiling import Feathered

__all__ = ["NativeBackend"]

Plane = npt.NDArray[np.float32]


class NativeBackend:
    """Runs a packed model of the edge family; the same bits for any number of threads.

    Args:
        model: The packed model.
        isa: Instruction set: amx, avx512, avx2, neon or scalar; None for BIMACOSR_ISA, else the
            best that the machine has.

    Raises:
        BackendError: the engine is not installed, or the machine lacks the instruction set.
        ModelError: the model's arrays do not fit its settings, or its family is not the edge one.
    """

    name = "native"
    side_by_side = True
    trusted = True

    def __init__(self, model: PackedModel, isa: str | None = None) -> None:
        if model.family != "edge":
            raise ModelError(
                f"the model {model.name!r} is of family {model.family!r}, which the native engine "
                "does not enlarge pictures with; use --backend torch"
            )
        self.isa = choose_instruction_set(isa)
        self.network = build_edge(model, self.isa)
        settings = EdgeSettings(**model.network)
        self.scale = settings.scale
        self.tiling = Feathered(margin=settings.receptive_radius)
        diffusion = DiffusionSettings(**model.diffusion)  # build_edge has checked it
        self.noisy, self.stream = diffusion.kappa != 0, diffusion.steps
        self._local = threading.local()
        self._idle: dict[int, list[Any]] = {}

    def start_worker(self, threads: int) -> None:
        """Let this thread's tiles be worked on by `threads` threads."""
        self._local.threads = threads

    def restore(self, lq: Plane, *, row: int, column: int, seed: int) -> Plane:
        """Enlarge a tile; see `bimacosr.upscale.Backend`."""
        height, width = lq.shape[:2]
        drawn = None
        if self.noisy:
            rows, columns = range(row, row + height), range(column, column + width)
            drawn = noise.normal(seed, rows, columns, 3 * self.scale**2, stream=self.stream)
        with self._memory() as memory:
            sr: Plane = self.network.restore(memory, np.ascontiguousarray(lq, np.float32), drawn)
        return sr

    @contextmanager
    def _memory(self) -> Iterator[Any]:
        """Memory and threads for a tile, kept from tile to tile: making them takes half as long."""
        threads = getattr(self._local, "threads", 1)
        idle = self._idle.setdefault(threads, [])
        try:
            memory = idle.pop()  # atomic: two threads never get the same
        except IndexError:
            memory = open_native().EdgeMemory(threads)
        yield memory
        idle.append(memory)
