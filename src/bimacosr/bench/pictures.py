"""What contestants work on: the same numbers for everybody."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bimacosr.bench.task import Task

__all__ = ["half_input", "latent_pair", "picture"]


def picture(task: Task) -> npt.NDArray[np.uint8]:
    """A picture with slopes, edges and noise, H x W x 3, RGB."""
    y, x = np.mgrid[: task.height, : task.width]
    planes = [x / task.width, y / task.height, ((x // 8 + y // 8) % 2) * 0.6 + 0.2]
    noise = np.random.default_rng(0).normal(0, 0.03, (task.height, task.width, 3))
    return (np.clip(np.stack(planes, -1) + noise, 0, 1) * 255).astype(np.uint8)


def latent_pair(task: Task) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A scaled latent and a low-quality picture of a UNet, each 1 x 3 x H x W."""
    random = np.random.default_rng(0)
    size = (1, 3, task.height, task.width)
    return random.normal(0, 1, size).astype(np.float32), random.uniform(-1, 1, size).astype(
        np.float32
    )


def half_input(task: Task) -> npt.NDArray[np.float32]:
    """What half of VQ-f4 takes, 1 x 3 x H x W: a picture of four times the size, or a latent."""
    factor = 4 if task.way == "encoder" else 1
    size = (1, 3, factor * task.height, factor * task.width)
    return np.random.default_rng(0).uniform(-1, 1, size).astype(np.float32)
