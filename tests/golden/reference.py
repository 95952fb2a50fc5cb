"""The golden reference data: synthetic weights and inputs, stored outputs, and how to compare."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bimacosr.config.networks import AutoencoderSettings, UNetSettings

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "reference"

# Tolerances of the reference's README: deviation = max |ours - golden| / rms(golden).
F64 = 1e-9  # float64 run, golden stored as float64
F64_STORED_F32 = 1e-6  # float64 run, golden stored as float32
F32_LAYER = 2e-5  # float32 run of one layer
F32_NETWORK = 2e-4  # float32 run of a whole network, sampler or loss

Statistics = list[float]


@cache
def synth() -> ModuleType:
    """The reference's rule for weights and inputs."""
    spec = importlib.util.spec_from_file_location("bimacosr_synth", FOLDER / "synth.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def meta(name: str) -> dict[str, Any]:
    """Contents of `<name>.json`."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


@cache
def tensors(name: str) -> dict[str, Tensor]:
    """Contents of `<name>.safetensors`."""
    return load_file(FOLDER / f"{name}.safetensors")


def normal(name: str, shape: tuple[int, ...], dtype: torch.dtype, std: float = 1.0) -> Tensor:
    """Input tensor of normal numbers."""
    return torch.from_numpy(synth().normal(name, shape, std=std)).to(dtype)


def uniform(
    name: str, shape: tuple[int, ...], dtype: torch.dtype, low: float = -1.0, high: float = 1.0
) -> Tensor:
    """Input tensor of uniform numbers."""
    return torch.from_numpy(synth().uniform(name, shape, low, high)).to(dtype)


def unet_settings(config: dict[str, Any]) -> UNetSettings:
    """The settings of an official configuration of the UNet."""
    chosen = {field: config[field] for field in UNetSettings.__dataclass_fields__}
    return UNetSettings(**{k: tuple(v) if isinstance(v, list) else v for k, v in chosen.items()})


def autoencoder_settings(config: dict[str, Any]) -> AutoencoderSettings:
    """The settings of an official configuration of the autoencoder."""
    inner = config["ddconfig"]
    return AutoencoderSettings(
        in_channels=inner["in_channels"],
        out_channels=inner["out_ch"],
        channels=inner["ch"],
        channel_mult=tuple(inner["ch_mult"]),
        num_res_blocks=inner["num_res_blocks"],
        z_channels=inner["z_channels"],
        embed_dim=config["embed_dim"],
        n_embed=config["n_embed"],
    )


def fill(network: nn.Module, *, seed: int, style: str = "plain") -> None:
    """Give `network` the synthetic weights of its state-dict keys, in the precision it has."""
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    drawn = synth().make_state(shapes, seed, style)
    state = {key: torch.from_numpy(value) for key, value in drawn.items()}
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(key.endswith(synth().SKIP) for key in missing)


def deviation(ours: Tensor, golden: Tensor) -> float:
    """Largest difference over the golden's root mean square."""
    assert ours.shape == golden.shape
    golden = golden.double()
    return float((ours.detach().double() - golden).abs().max() / golden.square().mean().sqrt())


@cache
def checksum_weights(numel: int) -> np.ndarray:
    """Weights of the weighted sum over a tensor of `numel` elements."""
    weights: np.ndarray = synth().rng(f"checksum:{numel}", 0).standard_normal(numel)
    return weights


def statistics(x: Tensor) -> Statistics:
    """Mean, population std, sum, weighted sum and largest magnitude, in float64."""
    flat = x.detach().double().contiguous().numpy().ravel()
    weighted = float(flat @ checksum_weights(flat.size))
    return [float(v) for v in (flat.mean(), flat.std(), flat.sum(), weighted, abs(flat).max())]


def statistics_deviation(x: Tensor, golden: Statistics, floor: float = 0.0) -> float:
    """Largest deviation of the statistics of `x`, in parts of its std (sums: std * sqrt(numel)).

    `floor` is the least std to divide by, for tensors that are zero but for rounding.
    """
    std = max(golden[1], floor)
    root = math.sqrt(x.numel())
    scales = [std / root, std, std * root, std * root, std]
    parts = zip(statistics(x), golden, scales, strict=True)
    return max(abs(ours - wanted) / scale for ours, wanted, scale in parts)


@contextmanager
def recorded_outputs(network: nn.Module, names: set[str]) -> Iterator[dict[str, Tensor]]:
    """Collect the output of every module in `names` of the next forward."""
    outputs: dict[str, Tensor] = {}

    def record(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                outputs[name] = output.detach()

        return hook

    handles = [
        module.register_forward_hook(record(name))
        for name, module in network.named_modules()
        if name in names
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
