"""Our engine as a contestant. Nothing here needs PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from bimacosr.bench.pictures import half_input, latent_pair, picture
from bimacosr.bench.race import Run
from bimacosr.bench.task import LayerShape, Task, unet_settings
from bimacosr.config.networks import vq_f4
from bimacosr.engine.native import open_native
from bimacosr.engine.vq import NativeAutoencoder
from bimacosr.errors import BackendError
from bimacosr.resolver import load

__all__ = [
    "UNetRun",
    "autoencoder",
    "layer",
    "layer_sums",
    "pipeline",
    "unet",
    "unet_on_one_thread",
]

RANK = 8
"""Of the low-rank branch in the official student."""


def layer(task: Task) -> Run:
    """A 1-bit layer of BiMaCoSR with all that belongs to it: float map in, float map out.

    Signs and scales of the input, sums, bias, RPReLU (not of linear layers), sparse and low-rank
    branches. A consumer follows strip by strip, as in the UNet.
    """
    assert task.layer is not None
    native, shape = open_native(), task.layer
    first = _binary_layer(task.isa, shape)
    if not shape.consumer_inputs:
        timer = native.LayerTimer(first, shape.height, shape.width, task.threads)
    else:
        consumer = replace(shape, inputs=shape.consumer_inputs, outputs=shape.consumer_outputs)
        second = _binary_layer(task.isa, consumer)
        timer = native.PairTimer(
            first, second, shape.gelu, shape.height * shape.width, task.threads
        )
    run: Run = timer.run
    return run


def layer_sums(task: Task) -> Run:
    """The integer part of the same layer alone, on one thread: signs in, sums out, both in cache.

    Raises:
        BackendError: there is more than one thread, or a consumer.
    """
    assert task.layer is not None
    shape = task.layer
    if shape.consumer_inputs:
        raise BackendError("it is of one layer")
    if task.threads > 1:
        raise BackendError("it runs on one thread")
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


def unet_on_one_thread(task: Task) -> UNetRun:
    """The same on one thread, whatever the others have; what it says beside `unet` is how the
    engine scales."""
    return unet(replace(task, threads=1))


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


def autoencoder(task: Task) -> Run:
    """Half of VQ-f4, without the codebook."""
    from safetensors.numpy import load_file

    assert task.weights is not None
    network = NativeAutoencoder(
        vq_f4(), load_file(task.weights), task.isa, task.threads, task.precision
    )
    maps = half_input(task)
    if task.way == "encoder":
        return lambda: network.encode(maps)
    return lambda: network.decode(maps, quantize=False)


def pipeline(task: Task) -> Callable[[], object]:
    """A picture in memory to its enlargement in memory, tiles included."""
    resolver = load(
        task.model,
        backend="native",
        isa=task.isa,
        autoencoder=task.autoencoder,
        threads=task.threads,
    )
    small = picture(task)
    return lambda: resolver(small)


def _binary_layer(isa: str, shape: LayerShape) -> Any:
    """The native layer of a shape, without its consumer, with random numbers."""
    random = np.random.default_rng(0)

    def normal(*size: int) -> Any:
        return random.normal(0, 0.1, size).astype(np.float32)

    entries = min(2 * max(shape.inputs, shape.outputs), shape.inputs * shape.outputs)
    places = random.choice(shape.inputs * shape.outputs, entries, replace=False)
    return open_native().binary_layer(
        isa,
        _signs(shape, random),
        shape.inputs,
        np.abs(normal(shape.outputs)),
        normal(shape.outputs),
        None if shape.linear else normal(3, shape.outputs),
        sparse_indices=np.stack(np.divmod(places, shape.inputs)).astype(np.int32),
        sparse_values=normal(entries),
        low_rank_in=normal(RANK, shape.inputs),
        low_rank_out=normal(shape.outputs, RANK),
        pixels=shape.height * shape.width,
    )


def _signs(shape: LayerShape, random: np.random.Generator) -> Any:
    """Random words, 0 beyond the last channel."""
    words = -(-shape.inputs // 64)
    bits = np.zeros((shape.outputs, shape.taps, words * 64), np.uint8)
    size = (*bits.shape[:2], shape.inputs)
    bits[..., : shape.inputs] = random.integers(0, 2, size, dtype=np.uint8)
    return np.packbits(bits, axis=-1, bitorder="little").view(np.uint64)
