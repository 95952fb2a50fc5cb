"""PyTorch as a contestant: float layers, the float UNet, and students as they run there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bimacosr.bench.pictures import half_input, latent_pair, picture
from bimacosr.bench.race import Run
from bimacosr.bench.task import LayerShape, Task, unet_settings
from bimacosr.checkpoints.load import load_unet
from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.config.networks import realsrx4_unet, vq_f4
from bimacosr.config.upscale import SamplingSettings, UpscaleSettings
from bimacosr.networks.unet import build_unet
from bimacosr.networks.vq import VQAutoencoder, build_autoencoder
from bimacosr.reference.latent import LatentBackend
from bimacosr.resolver import SuperResolver, load

__all__ = [
    "autoencoder",
    "autoencoder_nhwc",
    "float_half",
    "float_unet",
    "layer",
    "layer_bf16",
    "layer_bf16_nhwc",
    "layer_nhwc",
    "pipeline",
    "sinsr",
    "student",
    "unet",
    "unet_bf16",
    "unet_bf16_nhwc",
    "unet_inputs",
    "unet_nhwc",
]

LAST_STEP = 14
"""The step that a one-step model is asked for."""

NHWC = torch.channels_last


def layer(task: Task) -> Run:
    """A float layer of the same shape, with bias, and its consumer; channels first."""
    return _layer(task, torch.float32, torch.contiguous_format)


def layer_nhwc(task: Task) -> Run:
    """The same with the channels last."""
    return _layer(task, torch.float32, NHWC)


def layer_bf16(task: Task) -> Run:
    """The same in bfloat16, channels first."""
    return _layer(task, torch.bfloat16, torch.contiguous_format)


def layer_bf16_nhwc(task: Task) -> Run:
    """The same in bfloat16, channels last."""
    return _layer(task, torch.bfloat16, NHWC)


def unet(task: Task) -> Run:
    """The float UNet of the student's shape, channels first."""
    return _run_unet(float_unet(task), task, torch.float32, torch.contiguous_format)


def unet_nhwc(task: Task) -> Run:
    """The same with the channels last."""
    return _run_unet(float_unet(task), task, torch.float32, NHWC)


def unet_bf16(task: Task) -> Run:
    """The same in bfloat16, weights too; channels first."""
    return _run_unet(float_unet(task), task, torch.bfloat16, torch.contiguous_format)


def unet_bf16_nhwc(task: Task) -> Run:
    """The same in bfloat16, channels last."""
    return _run_unet(float_unet(task), task, torch.bfloat16, NHWC)


def student(task: Task) -> Run:
    """The 1-bit student as it was published: signs and scales in float, in PyTorch."""
    assert task.weights is not None
    network = load_unet(Path(task.weights)).network
    return _run_unet(network, task, torch.float32, torch.contiguous_format)


def autoencoder(task: Task) -> Run:
    """Half of VQ-f4, without the codebook, in the task's precision; channels first."""
    return _run_half(task, torch.contiguous_format)


def autoencoder_nhwc(task: Task) -> Run:
    """The same with the channels last."""
    return _run_half(task, NHWC)


def float_half(task: Task) -> nn.Module:
    """Half of the task's VQ-f4."""
    assert task.weights is not None
    network = build_autoencoder(vq_f4())
    network.load_state_dict(load_file(task.weights))
    return _Half(network.eval().requires_grad_(False), task)


def pipeline(task: Task) -> Run:
    """The same packed model as ours, on the PyTorch backend."""
    torch.set_num_threads(task.threads)
    resolver = load(task.model, backend="torch", autoencoder=task.autoencoder, threads=task.threads)
    small = picture(task)
    return lambda: resolver(small)


def sinsr(task: Task) -> Run:
    """SinSR's pipeline in float32: VQ-f4, its UNet once, VQ-f4; random weights."""
    torch.manual_seed(0)
    backend = LatentBackend(
        build_unet(realsrx4_unet()),
        build_autoencoder(vq_f4()),
        diffusion=DiffusionSettings(),
        sampling=SamplingSettings(steps=1),
        multiple=realsrx4_unet().latent_multiple,
    )
    settings = UpscaleSettings(threads=task.threads)
    resolver = SuperResolver(backend, None, settings, notice=lambda _: None)
    small = picture(task)
    return lambda: resolver(small)


def float_unet(task: Task) -> nn.Module:
    """A float UNet with random weights, of the student's shape."""
    torch.manual_seed(0)
    return build_unet(unet_settings(task)).eval().requires_grad_(False)


def unet_inputs(task: Task) -> tuple[Tensor, Tensor, Tensor]:
    """Latent, time step and low-quality picture."""
    x, lq = (torch.from_numpy(array) for array in latent_pair(task))
    return x, torch.tensor([LAST_STEP]), lq


def _layer(task: Task, dtype: torch.dtype, memory_format: torch.memory_format) -> Run:
    shape = task.layer
    assert shape is not None
    torch.set_num_threads(task.threads)
    torch.manual_seed(0)
    module = _module(shape, shape.inputs, shape.outputs)
    if shape.consumer_inputs:
        consumer = _module(shape, shape.consumer_inputs, shape.consumer_outputs)
        between = nn.GELU() if shape.gelu else _LastChannels(shape.consumer_inputs)
        module = nn.Sequential(module, between, consumer)
    if shape.linear:
        x = torch.randn(shape.height * shape.width, shape.inputs, dtype=dtype)
        return _without_gradients(module.to(dtype), x)
    module = module.to(dtype=dtype, memory_format=memory_format)
    x = torch.randn(1, shape.inputs, shape.height, shape.width, dtype=dtype)
    return _without_gradients(module, x.to(memory_format=memory_format))


def _module(shape: LayerShape, inputs: int, outputs: int) -> Any:  # stubs lack memory formats
    if shape.linear:
        return nn.Linear(inputs, outputs)
    side = 3 if shape.taps == 9 else 1
    return nn.Conv2d(inputs, outputs, side, padding=side // 2)


class _Half(nn.Module):
    """Encoder or decoder."""

    def __init__(self, network: VQAutoencoder, task: Task) -> None:
        super().__init__()
        self.network = network
        self.encodes = task.way == "encoder"

    def forward(self, x: Tensor) -> Tensor:
        return self.network.encode(x) if self.encodes else self.network.decode(x, quantize=False)


class _LastChannels(nn.Module):
    """The last `count` channels: axis 1 of tokens as of maps."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        return x[:, -self.count :]


def _run_unet(
    network: Any, task: Task, dtype: torch.dtype, memory_format: torch.memory_format
) -> Run:
    torch.set_num_threads(task.threads)
    network = network.to(dtype=dtype, memory_format=memory_format)
    x, t, lq = unet_inputs(task)
    x, lq = (tensor.to(dtype=dtype, memory_format=memory_format) for tensor in (x, lq))
    return _without_gradients(network, x, t, lq)


def _run_half(task: Task, memory_format: torch.memory_format) -> Run:
    torch.set_num_threads(task.threads)
    dtype = torch.bfloat16 if task.precision == "bf16" else torch.float32
    network: Any = float_half(task)  # stubs lack memory formats
    x = torch.from_numpy(half_input(task)).to(dtype=dtype, memory_format=memory_format)
    return _without_gradients(network.to(dtype=dtype, memory_format=memory_format), x)


def _without_gradients(module: Any, *inputs: Tensor) -> Run:
    def run() -> object:
        with torch.inference_mode():
            return module(*inputs)

    return run
