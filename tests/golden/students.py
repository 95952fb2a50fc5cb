"""The reference's students, tiny and full: how they are built, fed and measured.

State A is the float network's own initialisation, B and C are filled by the reference's rule. In A
and B one flipped sign changes the output by 70 %, so only float64 can prove them; C is built so
that no float32 rounding flips a sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bimacosr.binarize.convert import binarize
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.networks.unet import UNetModelSwin, build_unet
from tests.golden import reference as ref

RULE = KeepFloatRule(keywords=("input_blocks.0.0", "out.2"), max_parameters=200_000)
SETTINGS = BinarizeSettings(rank=8, keep_float_conv=(RULE,))
STYLES = {"B": (1, "plain"), "C": (2, "margin")}
# of (std * sqrt(numel)) for sums; means and maxima are compared as strictly
STATISTICS = 1e-9


@cache
def golden(name: str) -> dict[str, Any]:
    """The meta data of `student_tiny` or `student_full`."""
    return ref.meta(name)


def facts(name: str, state: str, run: str) -> dict[str, Any]:
    """What is known of one run."""
    found: dict[str, Any] = golden(name)["states"][state]["runs"][run]
    return found


def build(name: str, dtype: torch.dtype) -> UNetModelSwin:
    """The student in state A: the float network in `dtype`, then converted."""
    network = build_unet(ref.unet_settings(golden(name)["config"])).to(dtype)
    ref.fill(network.requires_grad_(False), seed=0)
    return binarize(network.eval(), SETTINGS)


def fill(student: nn.Module, state: str) -> None:
    """Put a student into state B or C."""
    seed, style = STYLES[state]
    ref.fill(student, seed=seed, style=style)


def inputs_of(name: str, state: str, run: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy latent, time steps and condition of one run."""
    told = facts(name, state, run)
    shape = (told["batch"], 3, told["H"], told["W"])
    x = ref.normal(f"{name}/{run}/x", shape, dtype)
    lq = ref.normal(f"{name}/{run}/lq", shape, dtype, std=0.5)
    return x, torch.tensor(told["timesteps"]), lq


@dataclass
class Measured:
    """What a forward showed: deviation by layer, and exact zeros of the binary layers' inputs."""

    deviations: dict[str, float] = field(default_factory=dict)
    zeros: dict[str, int] = field(default_factory=dict)


@contextmanager
def measured(network: nn.Module, told: dict[str, Any]) -> Iterator[Measured]:
    """Compare the next forward with `told`, layer by layer, without keeping any tensor.

    `told` gives `out` for a layer, and `in` and `exact_zeros` too if the layer is binary.
    """
    found = Measured()

    def before(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            (x,) = args
            off = ref.statistics_deviation(x, told[name]["in"])
            found.deviations[f"{name} in"] = off
            found.zeros[name] = int((x == 0).sum())

        return hook

    def after(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Tensor) -> None:
            found.deviations[f"{name} out"] = ref.statistics_deviation(output, told[name]["out"])

        return hook

    handles = []
    for name, entry in told.items():
        layer = network.get_submodule(name)
        handles.append(layer.register_forward_hook(after(name)))
        if "in" in entry:
            handles.append(layer.register_forward_pre_hook(before(name)))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def recorded_signs(network: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Collect the signs (int8) of what goes into the layers `names` of the next forward."""
    signs: dict[str, Tensor] = {}

    def record(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            signs[name] = args[0].sign().to(torch.int8)

        return hook

    handles = [network.get_submodule(k).register_forward_pre_hook(record(k)) for k in names]
    try:
        yield signs
    finally:
        for handle in handles:
            handle.remove()


def check_layers(found: Measured, name: str, state: str, run: str) -> None:
    """Every layer's input and output, and the exact zeros, are the official ones."""
    told = facts(name, state, run)
    layers = told["layers_f64"]
    binary = {key for key, entry in layers.items() if "in" in entry}
    assert binary == set(golden(name)["replaced"])
    assert found.zeros == {key: layers[key]["exact_zeros"] for key in binary}
    assert len(found.deviations) == len(layers) + len(binary)
    worst = max(found.deviations, key=found.deviations.__getitem__)
    assert found.deviations[worst] < STATISTICS, worst


def check_initialisation(network: nn.Module, name: str) -> None:
    """Each layer of state A is cut from the float weight as officially."""
    summary = golden(name)["states"]["A"]["init_f64"]
    assert list(summary) == sorted(golden(name)["replaced"])
    for key, told in summary.items():
        check_layer(network.get_submodule(key), told, key)


def check_layer(layer: nn.Module, told: dict[str, Any], name: str) -> None:
    """Remainder, sparse entries and low-rank product of one layer."""
    state = layer.state_dict()
    weight, values = state["weight"], state["skip_connection.values"]
    rows, columns = state["skip_connection.indices_float"]
    assert list(weight.shape) == told["weight_shape"], name
    stride = layer.stride[0] if weight.ndim == 4 else None
    assert stride == told["stride"], name
    assert told["type"] == ("BinaryConv2d_ours" if weight.ndim == 4 else "BinaryLinear_ours")
    assert ref.statistics_deviation(weight, told["weight"]) < STATISTICS, name
    assert len(values) == told["nnz"], name
    sums = [rows.sum(), columns.sum(), (rows * columns).sum()]
    keys = ("sparse_row_sum", "sparse_col_sum", "sparse_rowcol_sum")
    assert [float(s) for s in sums] == [told[key] for key in keys], name
    size = float(values.square().sum())
    assert float(values.sum()) == pytest.approx(told["values_sum"], abs=1e-9 * size)
    assert size == pytest.approx(told["values_sumsq"], rel=1e-9)
    a, b = state["lora.A.weight"], state["lora.B.weight"]
    product = b.flatten(1) @ a.flatten(1) if a.ndim == 4 else a @ b
    rank = a.shape[0] if a.ndim == 4 else a.shape[1]
    assert rank == told["lora_rank"], name
    assert ref.statistics_deviation(product, told["lora_product"]) < STATISTICS, name
    dense = layer.skip_connection.matrix()  # type: ignore[union-attr, operator]
    assert ref.statistics_deviation(dense, told["dense_stats"]) < STATISTICS, name
