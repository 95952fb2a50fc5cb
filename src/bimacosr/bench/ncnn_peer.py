"""Real-ESRGAN's networks in ncnn as contestants, on the processor.

ncnn is optional, so it is imported where it is used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bimacosr.bench.pictures import picture
from bimacosr.bench.race import Run
from bimacosr.bench.task import Task
from bimacosr.errors import ModelError

__all__ = ["animevideov3", "x4plus"]


def animevideov3(task: Task) -> Run:
    """The small network for cartoons, four times larger."""
    return _run("realesr-animevideov3-x4", task)


def x4plus(task: Task) -> Run:
    """The large network for photographs, four times larger."""
    return _run("realesrgan-x4plus", task)


def _run(name: str, task: Task) -> Run:
    """An array in, an array out, in one tile.

    Raises:
        ModelError: ncnn does not take the model.
    """
    import ncnn

    assert task.peers_dir is not None
    network = ncnn.Net()
    network.opt.use_vulkan_compute = False
    network.opt.num_threads = task.threads
    path = Path(task.peers_dir) / name
    if network.load_param(f"{path}.param") or network.load_model(f"{path}.bin"):
        raise ModelError(f"ncnn does not read {path}.param and .bin")
    small = picture(task)

    def run() -> object:
        planes = np.ascontiguousarray(small.transpose(2, 0, 1), np.float32) / 255
        extractor = network.create_extractor()
        extractor.input("data", ncnn.Mat(planes))
        failed, large = extractor.extract("output")
        if failed:
            raise ModelError(f"ncnn gave up with {failed} in {name}")
        pixels = np.clip(np.array(large) * 255 + 0.5, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))

    return run
