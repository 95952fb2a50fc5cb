"""The 1-bit student of the paper family in the native engine, at one fixed time step.

The time step scales and shifts the second norm of each residual block. Since it never changes,
all layers that read it run once, here, and become part of those norms.

Shapes: C channels, H height, W width of the latent (CHW).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bimacosr.config.networks import UNetSettings
from bimacosr.engine.native import choose_instruction_set, open_native
from bimacosr.engine.student import Student
from bimacosr.errors import OptionError
from bimacosr.pack.format import Array

__all__ = ["NativeUNet"]

Floats = npt.NDArray[np.float32]


class NativeUNet:
    """A BiMaCoSR student, ready to run; the same bits for any number of threads.

    Args:
        settings: Shape of the network.
        state: Its state dict as numpy arrays, float32, or the arrays of its packed file, whose time
            step may be folded. All convolutions and linear layers but the first and the last
            convolution are 1-bit.
        isa: Instruction set: amx, avx512, avx2, neon, scalar; or auto for BIMACOSR_ISA, else the
            best that the machine has.
        threads: Number of threads, the caller's included.
        step: Time step at which the network runs, 0 and above; the last of 15 officially.

    Raises:
        ValueError: an array is missing, surplus or of another shape, or another layer is float.
        ModelError: a 1-bit weight is 0 or NaN.
        BackendError: the engine is not installed, or the machine lacks the instruction set.

    Source: BiMaCoSR, arXiv 2502.00333; the network: ResShift, arXiv 2307.12348.
    """

    def __init__(
        self,
        settings: UNetSettings,
        state: Mapping[str, Array],
        isa: str = "auto",
        threads: int = 1,
        *,
        step: int = 14,
    ) -> None:
        self.settings = settings
        self.isa = choose_instruction_set(None if isa == "auto" else isa)
        self._memory = open_native().UnetMemory(threads)
        self._network = _Builder(settings, Student(state), self.isa, step).network()

    def __call__(self, x: Floats, lq: Floats, memory: Any = None) -> Floats:
        """Predict from a latent and the low-quality picture.

        Args:
            x: Noisy latent, (1, C, H, W), scaled as the diffusion process says; H and W multiples
                of `settings.latent_multiple`.
            lq: Low-quality picture in [-1, 1] at the latent's size, (1, 3, H, W).
            memory: A `UnetMemory` of the native module, for a caller beside others; None: its own.

        Returns:
            (1, out_channels, H, W): what the network was trained to predict.

        Raises:
            OptionError: the shapes do not fit.
        """
        if x.ndim != 4 or lq.ndim != 4 or x.shape[0] != 1 or x.shape[2:] != lq.shape[2:]:
            raise OptionError(f"latent {x.shape} and picture {lq.shape} do not make one input")
        multiple = self.settings.latent_multiple
        height, width = x.shape[2:]
        if not height or not width or height % multiple or width % multiple:
            raise OptionError(
                f"the latent is {height}x{width} (height x width); both must be multiples of"
                f" {multiple}. Pad the picture first."
            )
        planes = np.concatenate([x[0], lq[0]]).astype(np.float32, copy=False)
        if planes.shape[0] != self.settings.in_channels:
            raise OptionError(
                f"latent and low-quality picture have {x.shape[1]} + {lq.shape[1]} channels;"
                f" the network takes {self.settings.in_channels}"
            )
        out: Floats = self._network.run(memory or self._memory, np.ascontiguousarray(planes))
        return out[None]

    def profile(self) -> dict[str, float]:
        """Milliseconds of all threads since the last call of this, by kind of work."""
        seconds: dict[str, float] = self._memory.take_seconds()
        return {kind: 1000 * value for kind, value in seconds.items()}


class _Level(NamedTuple):
    """One resolution of the network."""

    channels: int
    size: int  # nominal height and width
    res_blocks: int
    attention: bool


class _Builder:
    """Makes the native parts, in the order of the network."""

    def __init__(self, settings: UNetSettings, student: Student, isa: str, step: int) -> None:
        self.settings, self.student, self.isa = settings, student, isa
        self.native = open_native()
        # a packed file leaves out the branches of strided layers: ask before any is taken
        self.pooled = any(key.endswith(".skip_connection.values") for key in student.left)
        self.folded = not any(key.startswith("time_embed.") for key in student.left)
        width = settings.model_channels
        if not self.folded:
            hidden = student.linear("time_embed.0", 4 * width, _time_embedding(step, width))
            self.embedding = _silu(student.linear("time_embed.2", 4 * width, _silu(hidden)))
        self.levels = [
            _Level(factor * width, size, blocks, size in settings.attention_resolutions)
            for factor, size, blocks in zip(
                settings.channel_mult, settings.level_sizes, settings.num_res_blocks, strict=True
            )
        ]

    def network(self) -> Any:
        """All of it; every array of the state must have found its place."""
        top, bottom = self.levels[0], self.levels[-1]
        first = self.float_convolution(
            "input_blocks.0.0", self.settings.model_channels, self.settings.in_channels
        )
        down, skips = self.stages_down()
        name, channels = "middle_block", bottom.channels
        middle = [
            self.res_block(f"{name}.0", channels, channels, bottom.size),
            self.swin_layer(f"{name}.1", channels, bottom.size),
            self.res_block(f"{name}.2", channels, channels, bottom.size),
        ]
        up = list(self.stages_up(skips))
        norm = self.norm("out.0", top.channels)
        last = self.float_convolution("out.2", self.settings.out_channels, top.channels)
        self.student.finish()
        multiple = self.settings.latent_multiple
        return self.native.unet(first, down, middle, up, norm, last, multiple)

    def stages_down(self) -> tuple[list[list[Any]], list[int]]:
        """Stages behind the first convolution, and the channels of all skips, its own first."""
        channels = self.settings.model_channels
        stages: list[list[Any]] = []
        skips = [channels]
        for level in self.levels:
            for i in range(level.res_blocks):
                name = f"input_blocks.{len(stages) + 1}"
                stage = [self.res_block(f"{name}.0", channels, level.channels, level.size)]
                channels = level.channels
                if level.attention and i == 0:
                    stage.append(self.swin_layer(f"{name}.1", channels, level.size))
                stages.append(stage)
                skips.append(channels)
            if level is not self.levels[-1]:
                op = f"input_blocks.{len(stages) + 1}.0.op"
                stages.append([self.downsample(op, channels, level.size // 2)])
                skips.append(channels)
        return stages, skips

    def stages_up(self, skips: list[int]) -> Iterator[list[Any]]:
        """Stages behind the middle, each of which takes one skip from the end of `skips`."""
        channels, number = self.levels[-1].channels, 0
        for level in reversed(self.levels):
            for i in range(level.res_blocks + 1):
                name = f"output_blocks.{number}"
                c_in = channels + skips.pop()
                stage = [self.res_block(f"{name}.0", c_in, level.channels, level.size)]
                channels, number = level.channels, number + 1
                if level.attention and i == 0:
                    stage.append(self.swin_layer(f"{name}.1", channels, level.size))
                if level is not self.levels[0] and i == level.res_blocks:
                    conv = f"{name}.{len(stage)}.conv"
                    layer = self.convolution(conv, channels, channels, level.size)
                    stage.append(self.native.upsample(layer))
                yield stage

    def res_block(self, name: str, c_in: int, c_out: int, size: int) -> Any:
        """A residual block, with the time step in its second norm or in its first convolution.

        `size`, here and below, is the nominal one of the map that layers see.
        """
        modulated = self.settings.use_scale_shift_norm
        width = 2 * c_out if modulated else c_out
        if self.folded:
            emb = self.student.take(f"{name}.emb_layers.modulation", width)
        else:
            emb = self.student.linear(f"{name}.emb_layers.1", width, self.embedding)
        inner = self.student.layer(f"{name}.in_layers.2", c_out, c_in, 9)
        weight, bias = self.norm_arrays(f"{name}.out_layers.0", c_out)
        if modulated:
            scale, shift = 1 + emb[:c_out], emb[c_out:]
            weight, bias = weight * scale, bias * scale + shift
        else:
            inner["rprelu"][2] += emb
        skip = None
        if c_in != c_out:
            skip = self.binary(f"{name}.skip_connection", c_out, c_in)
        return self.native.res_block(
            self.norm(f"{name}.in_layers.0", c_in),
            self.native.binary_layer(self.isa, **inner, pixels=size**2),
            self.native.group_norm(weight, bias),
            self.convolution(f"{name}.out_layers.3", c_out, c_out, size),
            skip,
        )

    def swin_layer(self, name: str, channels: int, size: int) -> Any:
        """Swin blocks between two 1x1 convolutions."""
        inner, window = self.settings.swin_embed_dim, min(self.settings.window_size, size)
        shifted = size > self.settings.window_size
        blocks = [
            self.swin_block(f"{name}.blocks.{i}", window, window // 2 if shifted and i % 2 else 0)
            for i in range(self.settings.swin_depth)
        ]
        embed = self.binary(f"{name}.patch_embed.proj", inner, channels)
        unembed = self.binary(f"{name}.patch_unembed.proj", channels, inner)
        return self.native.swin_layer(embed, unembed, window, blocks)

    def swin_block(self, name: str, window: int, shift: int) -> Any:
        """Window attention and a feed-forward part."""
        inner = self.settings.swin_embed_dim
        heads = inner // self.settings.num_head_channels
        hidden = int(inner * self.settings.mlp_ratio)
        offsets = (2 * window - 1) ** 2
        table = self.student.take(f"{name}.attn.relative_position_bias_table", offsets, heads)
        return self.native.swin_block(
            self.norm(f"{name}.norm1", inner),
            self.binary(f"{name}.attn.qkv", 3 * inner, inner),
            self.binary(f"{name}.attn.proj", inner, inner),
            heads,
            shift,
            np.ascontiguousarray(table.T).ravel(),
            self.norm(f"{name}.norm2", inner),
            self.binary(f"{name}.mlp.fc1", hidden, inner),
            self.binary(f"{name}.mlp.fc2", inner, hidden),
        )

    def downsample(self, name: str, channels: int, size: int) -> Any:
        """A 3x3 convolution of stride 2.

        Where a layer of stride 1 has its sparse branch, it adds the mean of each four pixels. Its
        branches are in the checkpoint, but have no effect.
        """
        layer = self.student.layer(name, channels, channels, 9)
        used = {k: v for k, v in layer.items() if not k.startswith(("sparse", "low_rank"))}
        op = self.native.binary_layer(self.isa, **used, pixels=size**2)
        return self.native.downsample(op, self.pooled)

    def binary(self, name: str, c_out: int, c_in: int) -> Any:
        """A 1-bit layer for each pixel."""
        return self.native.binary_layer(self.isa, **self.student.layer(name, c_out, c_in, 1))

    def convolution(self, name: str, c_out: int, c_in: int, size: int) -> Any:
        """A 1-bit 3x3 convolution."""
        arguments = self.student.layer(name, c_out, c_in, 9)
        return self.native.binary_layer(self.isa, **arguments, pixels=size**2)

    def float_convolution(self, name: str, c_out: int, c_in: int) -> Any:
        """A 3x3 convolution in float."""
        weight, bias = self.student.float_convolution(name, c_out, c_in)
        return self.native.float_conv(self.isa, weight, bias)

    def norm(self, name: str, channels: int) -> Any:
        """A group norm."""
        return self.native.group_norm(*self.norm_arrays(name, channels))

    def norm_arrays(self, name: str, channels: int) -> tuple[Floats, Floats]:
        """Weight and bias of a group norm."""
        weight = self.student.take(f"{name}.weight", channels)
        return weight, self.student.take(f"{name}.bias", channels)


def _silu(x: Floats) -> Floats:
    y: Floats = x / (1 + np.exp(-x))
    return y


def _time_embedding(step: int, dim: int) -> Floats:
    """What `bimacosr.networks.blocks.timestep_embedding` gives for one step, without PyTorch."""
    half = dim // 2
    index = np.arange(half, dtype=np.float32)
    frequencies = np.exp(np.float32(-math.log(10000)) * index / np.float32(half))
    angles = np.float32(step) * frequencies
    embedding = np.concatenate([np.cos(angles), np.sin(angles), np.zeros(dim % 2, np.float32)])
    return embedding.astype(np.float32)
