"""The float Swin-UNet against the official outputs on synthetic weights, tiny and full size."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from bimacosr.config.networks import realsrx4_unet
from bimacosr.networks.blocks import timestep_embedding
from bimacosr.networks.unet import UNetModelSwin, build_unet
from tests.golden import reference as ref
from tests.golden.time_embedding import TIMES, feed_stored_time_embedding, last_bits

RUNS = [
    (golden, run)
    for golden, runs in {
        "unet_fp_tiny": ("t14", "t3_0", "rect"),
        "unet_fp_full": ("t14", "t3", "rect"),
    }.items()
    for run in runs
]
# Modules that only the official code has: dropouts of rate 0, norms that are switched off, and the
# softmax as a module.
ABSENT = {"attn_drop", "proj_drop", "drop_path", "drop", "norm", "softmax"}


@cache
def golden(name: str) -> dict[str, Any]:
    return ref.meta(name)


@cache
def network(name: str) -> UNetModelSwin:
    unet = build_unet(ref.unet_settings(golden(name)["config"]))
    ref.fill(unet.requires_grad_(False), seed=0)
    return unet.eval()


def inputs(name: str, run: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    of_run = golden(name)["runs"][run]
    shape = (of_run["batch"], 3, of_run["H"], of_run["W"])
    x = ref.normal(f"{name}/{run}/x", shape, dtype)
    lq = ref.normal(f"{name}/{run}/lq", shape, dtype, std=0.5)
    return x, torch.tensor(of_run["timesteps"]), lq


def test_keys_and_shapes_of_the_official_checkpoint() -> None:
    with torch.device("meta"):
        unet = build_unet(realsrx4_unet())
    reference = ref.meta("keys_unet_float")
    ours = {
        key: [list(value.shape), str(value.dtype).removeprefix("torch.")]
        for key, value in unet.state_dict().items()
    }
    assert ours == reference["keys"]
    assert list(ours) == list(reference["keys"])
    assert sorted(dict(unet.named_buffers())) == sorted(reference["buffers"])
    assert sum(p.numel() for p in unet.parameters()) == 118_593_583


@pytest.mark.parametrize("name", ["unet_fp_tiny", "unet_fp_full"])
def test_time_embedding_but_for_last_bits(name: str) -> None:
    stored = ref.tensors(name)["timestep_embedding_f32"]
    ours = timestep_embedding(torch.tensor(TIMES), stored.shape[1])
    assert ours.dtype == torch.float32
    assert ((ours.double() - stored).abs() <= last_bits(stored.shape[1])).all()


@pytest.mark.parametrize(("name", "run"), RUNS)
def test_float32(name: str, run: str) -> None:
    unet = network(name).float()
    out = unet(*inputs(name, run, torch.float32))
    assert ref.deviation(out, ref.tensors(name)[f"{run}/out"]) < ref.F32_NETWORK


@pytest.mark.parametrize(
    ("name", "run"),
    [*RUNS[:-1], pytest.param(*RUNS[-1], marks=pytest.mark.slow)],
)
def test_float64_with_every_module(name: str, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    feed_stored_time_embedding(monkeypatch)
    stored = golden(name)["runs"][run]["module_stats_f64"]
    unet = network(name).double()
    with ref.recorded_outputs(unet, set(stored)) as outputs:
        out = unet(*inputs(name, run, torch.float64))
    assert ref.deviation(out, ref.tensors(name)[f"{run}/out"]) < ref.F64
    assert ref.statistics_deviation(out, golden(name)["runs"][run]["out_stats"]) < ref.F64
    assert {key.rpartition(".")[2] for key in stored.keys() - outputs.keys()} == ABSENT
    for key, output in outputs.items():
        assert ref.statistics_deviation(output, stored[key]) < ref.F64, key


@pytest.mark.parametrize("run", ["t14", "t3_0"])
def test_float64_block_by_block(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    feed_stored_time_embedding(monkeypatch)
    name, prefix = "unet_fp_tiny", f"{run}/block/"
    blocks = {k.removeprefix(prefix): v for k, v in ref.tensors(name).items() if prefix in k}
    unet = network(name).double()
    with ref.recorded_outputs(unet, set(blocks)) as outputs:
        unet(*inputs(name, run, torch.float64))
    assert outputs.keys() == blocks.keys()
    for key, stored in blocks.items():
        assert ref.deviation(outputs[key], stored) < ref.F64_STORED_F32, key
