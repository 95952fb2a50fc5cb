"""Our engine as a contestant. Nothing here needs PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bimacosr.bench.pictures import latent_pair, picture
from bimacosr.bench.race import Run
from bimacosr.bench.task import LayerShape, Task, unet_settings
from bimacosr.config.upscale import UpscaleSettings
from bimacosr.engine import NativeBackend
from bimacosr.engine.native import open_native
from bimacosr.errors import BackendError
from bimacosr.models.catalogue import find_model
from bimacosr.pack.format import read_packed
from bimacosr.resolver import SuperResolver

__all__ = ["UNetRun", "layer", "layer_sums", "pipeline", "unet"]

RANK = 8
"""Of the low-rank branch in the official student."""


def layer(task: Task) -> Run:
    """A 1-bit layer of BiMaCoSR with all that belongs to it: float map in, float map out.

    Signs and scales of the input, sums, bias, RPReLU (not of linear layers), sparse and low-rank
    branches.
    """
    assert task.layer is not None
    native, shape, random = open_native(), task.layer, np.random.default_rng(0)

    def normal(*size: int) -> Any:
        return random.normal(0, 0.1, size).astype(np.float32)

    entries = min(2 * max(shape.inputs, shape.outputs), shape.inputs * shape.outputs)
    places = random.choice(shape.inputs * shape.outputs, entries, replace=False)
    made = native.binary_layer(
        task.isa,
        _signs(shape, random),
        shape.inputs,
        np.abs(normal(shape.outputs)),
        normal(shape.outputs),
        None if shape.linear else normal(3, shape.outputs),
        sparse_indices=np.stack(np.divmod(places, shape.inputs)).astype(np.int32),
        sparse_values=normal(entries),
        low_rank_in=normal(RANK, shape.inputs),
        low_rank_out=normal(shape.outputs, RANK),
    )
    timer = native.LayerTimer(made, shape.height, shape.width, task.threads)
    run: Run = timer.run
    return run


def layer_sums(task: Task) -> Run:
    """The integer part of the same layer alone, on one thread: signs in, sums out, both in cache.

    Raises:
        BackendError: there is more than one thread.
    """
    assert task.layer is not None
    if task.threads > 1:
        raise BackendError("it runs on one thread")
    shape = task.layer
    timer = open_native().GemmTimer(
        task.isa, shape.outputs, shape.inputs, shape.taps, shape.height, shape.width
    )
    run: Run = timer.run
    return run


class UNetRun:
    """The whole student in our engine; calling it runs it once."""

    def __init__(self, network: Any, task: Task) -> None:
        self.network = network
        self.inputs = latent_pair(task)

    def __call__(self) -> object:
        """Run it once."""
        return self.network(*self.inputs)

    def profile(self) -> Any:
        """Where its milliseconds go, by kind of work, as the engine itself tells."""
        return self.network.profile()


def unet(task: Task) -> UNetRun:
    """The student of the task.

    Raises:
        BackendError: this engine does not have the UNet.
    """
    from safetensors.numpy import load_file

    assert task.weights is not None
    try:
        from bimacosr.engine.unet import NativeUNet
    except ImportError as error:
        raise BackendError(f"the native engine of this version has no UNet ({error})") from error
    state = load_file(task.weights)
    network = NativeUNet(unet_settings(task), state, isa=task.isa, threads=task.threads)
    return UNetRun(network, task)


def pipeline(task: Task) -> Callable[[], object]:
    """A picture in memory to its enlargement in memory, tiles included."""
    model = read_packed(find_model(task.model))
    settings = UpscaleSettings(threads=task.threads)
    resolver = SuperResolver(NativeBackend(model, task.isa), model, settings)
    small = picture(task)
    return lambda: resolver(small)


def _signs(shape: LayerShape, random: np.random.Generator) -> Any:
    """Random words, 0 beyond the last channel."""
    words = -(-shape.inputs // 64)
    bits = np.zeros((shape.outputs, shape.taps, words * 64), np.uint8)
    size = (*bits.shape[:2], shape.inputs)
    bits[..., : shape.inputs] = random.integers(0, 2, size, dtype=np.uint8)
    return np.packbits(bits, axis=-1, bitorder="little").view(np.uint64)
