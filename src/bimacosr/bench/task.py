"""What one contestant is asked to do; plain data, so that it can go to a process of its own."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from bimacosr.config.networks import UNetSettings
from bimacosr.config.upscale import Precision

__all__ = ["Benchmark", "LayerShape", "Task", "Way", "task_from_dict", "unet_settings"]

Benchmark = Literal["layers", "unet", "autoencoder", "pipeline"]

Way = Literal["encoder", "decoder"]
"""A half of an autoencoder."""


@dataclass(frozen=True, order=True, kw_only=True, slots=True)
class LayerShape:
    """A 1-bit layer, or one of 1x1 and its consumer, and the map that they work on."""

    taps: int
    """9 of a 3x3 convolution, 1 of a 1x1 convolution or a linear layer."""

    inputs: int
    """Input channels."""

    outputs: int
    """Output channels."""

    height: int
    """Height of the result in pixels; of tokens, height times width is their number."""

    width: int
    """Width of it."""

    linear: bool = False
    """A linear layer: what follows a convolution (RPReLU) is not there."""

    consumer_inputs: int = 0
    """Of a second layer of the same kind, which takes that many of the outputs, the last ones; 0:
    there is none."""

    consumer_outputs: int = 0
    """Its output channels."""

    gelu: bool = False
    """Whether GELU lies between the two."""

    @property
    def kind(self) -> str:
        """The class over which ratios are averaged."""
        if self.consumer_inputs:
            return "1x1 fused"
        return "3x3" if self.taps == 9 else "1x1"

    @property
    def name(self) -> str:
        """As tables call it."""
        kind = "linear" if self.linear else self.kind.removesuffix(" fused")
        channels = f"{self.inputs}->{self.outputs}"
        if self.consumer_inputs:
            taken = "gelu" if self.gelu else str(self.consumer_inputs)
            channels += f"->{taken}->{self.consumer_outputs}"
        return f"{kind} {channels} {self.height}x{self.width}"

    @property
    def macs(self) -> int:
        """Products of signs."""
        products = self.taps * self.inputs * self.outputs
        products += self.consumer_inputs * self.consumer_outputs
        return products * self.height * self.width


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Everything that a contestant needs to get ready."""

    benchmark: Benchmark
    """Which of them."""

    model: str
    """What --model said, or its default."""

    height: int
    """Of the low-quality picture or of the latent, in pixels."""

    width: int
    """Of the same."""

    threads: int
    """Threads that a contestant may use."""

    isa: str
    """Instruction set of the native engine."""

    layer: LayerShape | None = None
    """The layer, of `layers` only."""

    weights: str | None = None
    """The network's state dict as .safetensors, of `unet` and `autoencoder`."""

    network: dict[str, Any] | None = None
    """The student's `UNetSettings` as plain data, of `unet` only."""

    way: Way | None = None
    """The half, of `autoencoder` only."""

    precision: Precision = "fp32"
    """What products are made of, of `autoencoder` only."""

    autoencoder: str | None = None
    """First stage of a packed student, of `pipeline` only; None: the released one."""

    peers_dir: str | None = None
    """The folder with models of peers."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `task_from_dict`."""
        return asdict(self)


def task_from_dict(told: dict[str, Any]) -> Task:
    """The task of which `Task.as_dict` made that."""
    layer = told["layer"] and LayerShape(**told["layer"])
    return Task(**{**told, "layer": layer})


def unet_settings(task: Task) -> UNetSettings:
    """The shape of the student of a task that has one."""
    assert task.network is not None
    told: dict[str, Any]
    told = {k: tuple(v) if isinstance(v, list) else v for k, v in task.network.items()}
    return UNetSettings(**told)
