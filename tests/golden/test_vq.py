"""The VQ-f4 autoencoder against the official outputs on synthetic weights, tiny and full size."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from bimacosr.config.networks import vq_f4
from bimacosr.networks.vq import Codebook, VQAutoencoder, build_autoencoder
from tests.golden import reference as ref

RUNS = [(golden, run) for golden in ("vq_tiny", "vq_full") for run in ("sq", "rect")]
DTYPES = {"f64": torch.float64, "f32": torch.float32}


@cache
def golden(name: str) -> dict[str, Any]:
    return ref.meta(name)


@cache
def network(name: str) -> VQAutoencoder:
    vq = build_autoencoder(ref.autoencoder_settings(golden(name)["config"]))
    ref.fill(vq.requires_grad_(False), seed=3)
    return vq.eval()


def image(name: str, run: str, dtype: torch.dtype) -> Tensor:
    of_run = golden(name)["runs"][run]
    return ref.uniform(f"{name}/{run}/x", (of_run["B"], 3, of_run["H"], of_run["W"]), dtype)


def test_keys_and_shapes_of_the_official_checkpoint() -> None:
    with torch.device("meta"):
        vq = build_autoencoder(vq_f4())
    reference = ref.meta("keys_vq_f4")
    ours = {
        key: [list(value.shape), str(value.dtype).removeprefix("torch.")]
        for key, value in vq.state_dict().items()
    }
    assert ours == reference["keys"]
    assert list(ours) == list(reference["keys"])
    assert sum(p.numel() for p in vq.parameters()) == reference["params"] == 55_322_782


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize(("name", "run"), RUNS)
def test_encode_quantize_decode(name: str, run: str, precision: str) -> None:
    dtype = DTYPES[precision]
    of_float64, of_stored_float32 = ref.F64, ref.F64_STORED_F32
    if precision == "f32":
        of_float64 = of_stored_float32 = ref.F32_NETWORK
    stored = {k.split("/")[1]: v for k, v in ref.tensors(name).items() if k.startswith(run)}
    vq = network(name).to(dtype)
    z = vq.encode(image(name, run, dtype)).requires_grad_()
    assert ref.deviation(z, stored["latent"]) < of_float64

    quantized = vq.quantize(z)
    assert torch.equal(quantized.indices.flatten(), stored["indices"].long())
    assert ref.deviation(quantized.z, stored["zq"]) < of_float64

    plain = vq.decode(z.detach(), quantize=False)
    assert ref.deviation(plain, stored["decode_not_quantized"]) < of_stored_float32
    decoded = vq.decode(z)
    assert ref.deviation(decoded, stored["decode_quantized"]) < of_stored_float32

    (decoded * ref.normal(f"{name}/{run}/cot", tuple(decoded.shape), dtype)).sum().backward()
    assert z.grad is not None
    assert ref.deviation(z.grad, stored["grad_latent_straight_through"]) < of_stored_float32


@pytest.mark.parametrize(("name", "run"), RUNS)
def test_float64_every_module(name: str, run: str) -> None:
    of_run = golden(name)["runs"][run]
    stored = of_run["module_stats_f64"]
    vq = network(name).double()
    with ref.recorded_outputs(vq, set(stored)) as outputs:
        vq.decode(vq.encode(image(name, run, torch.float64)))
    absent = {key.rpartition(".")[2] for key in stored.keys() - outputs.keys()}
    assert absent == {"dropout"}
    for key, output in outputs.items():
        assert ref.statistics_deviation(output, stored[key]) < ref.F64, key


@pytest.mark.parametrize(("name", "run"), RUNS)
def test_float64_statistics_of_the_run(name: str, run: str) -> None:
    """Of the values themselves, which are stored in float32 only."""
    of_run = golden(name)["runs"][run]
    vq = network(name).double()
    z = vq.encode(image(name, run, torch.float64)).requires_grad_()
    quantized = vq.quantize(z)
    assert len(quantized.indices.unique()) == of_run["distinct_codes"]
    decoded = vq.decode(z)
    cotangent = ref.normal(f"{name}/{run}/cot", tuple(decoded.shape), torch.float64)
    (gradient,) = torch.autograd.grad((decoded * cotangent).sum(), z)
    ours = {
        "latent_stats": z,
        "decode_quantized_stats": decoded,
        "decode_not_quantized_stats": vq.decode(z, quantize=False),
        "grad_stats": gradient,
    }
    for key, value in ours.items():
        assert ref.statistics_deviation(value, of_run[key]) < ref.F64, key


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_of_equally_near_codes_the_first_wins(dtype: torch.dtype) -> None:
    ties = golden("vq_tiny")["ties"][str(dtype)]
    codebook = Codebook(64, 3).to(dtype).requires_grad_(False)
    codes = dict(ties["codebook"])
    codebook.embedding.weight[:] = torch.tensor(codes.pop("rest"), dtype=dtype)
    for row, code in codes.items():
        codebook.embedding.weight[int(row)] = torch.tensor(code, dtype=dtype)
    z = torch.tensor(ties["z"], dtype=dtype).T.reshape(1, 3, 1, -1)
    assert codebook(z).indices.flatten().tolist() == ties["index"]
