"""The 1-bit layers of every method against the official ones: initialisation, output, gradients.

A case is `<method>/<geometry>`; BiMaCoSR is called `ours_r<rank>_L<low rank>S<sparse>`. Each is
checked in float64, where only rounding may differ, and in float32. `fresh` is a layer right after
its own initialisation; the second state has every parameter given, so that none is at a value that
hides it.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bimacosr.binarize.methods.bimacosr import METHOD
from bimacosr.binarize.registry import METHODS, find_method
from bimacosr.config.binarize import BinarizeSettings
from bimacosr.errors import OptionError
from tests.golden import reference as ref

_ALL = ref.meta("layers/layers")["cases"] if ref.FOLDER.is_dir() else ()
CASES = sorted(_ALL)
OURS = [name for name in CASES if name.startswith("ours_")]
GEOMETRIES = ["c1_down", "c1_eq", "c3s1_eq", "c3s1_up", "c3s2_eq", "l2_eq", "l2_up"]
GEOMETRIES += ["l3_down", "l3_eq"]  # those of the methods other than BiMaCoSR
DTYPES = {"f64": torch.float64, "f32": torch.float32}
F32_FRESH = 1e-4  # the float32 SVD of the initialisation is in it

Grads = dict[str, Tensor]


@cache
def facts(case: str) -> dict[str, Any]:
    found: dict[str, Any] = ref.meta("layers/layers")["cases"][case]
    return found


@cache
def golden(case: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(case + "/"): value
        for key, value in ref.tensors("layers/layers").items()
        if key.startswith(case + "/")
    }


def settings_of(case: str) -> BinarizeSettings:
    found = re.match(r"ours_r(\d+)_L(\d)S(\d)/", case)
    if found is None:
        return BinarizeSettings(method=case.split("/")[0].lower())
    rank, low_rank, sparse = map(int, found.groups())
    return BinarizeSettings(rank=rank, low_rank=bool(low_rank), sparse=bool(sparse))


def float_layer(geometry: str, dtype: torch.dtype) -> nn.Module:
    """The layer before binarization: with outliers, and with exact zeros."""
    sizes = ref.meta("layers/layers")["geometry"][geometry]
    layer: nn.Module
    if geometry.startswith("c"):
        kind, layer = "conv", nn.Conv2d(*sizes[:3], stride=sizes[3], padding=sizes[4])
    else:
        kind, layer = "linear", nn.Linear(*sizes[:2])
    prefix = f"layers/{kind}/{geometry}/float."
    shapes = {prefix + key: tuple(value.shape) for key, value in layer.state_dict().items()}
    drawn = ref.synth().make_state(shapes, 0, "plain")
    flat = drawn[prefix + "weight"].reshape(-1)
    flat[3::37] *= 8
    flat[5::53] = 0
    layer.load_state_dict({k.removeprefix(prefix): torch.from_numpy(v) for k, v in drawn.items()})
    return layer.to(dtype)


def input_of(geometry: str, dtype: torch.dtype) -> Tensor:
    sizes = ref.meta("layers/layers")["geometry"][geometry]
    shape = (2, sizes[0], *sizes[5:]) if geometry.startswith("c") else tuple(sizes[2])
    drawn = ref.synth().normal(f"layers/{geometry}", shape, std=0.9, zeros=0.06)
    return torch.from_numpy(drawn).to(dtype).requires_grad_()


def fresh_layer(case: str, dtype: torch.dtype) -> nn.Module:
    layer = float_layer(case.split("/")[1], dtype)
    settings = settings_of(case)
    method = find_method(settings.method)
    if isinstance(layer, nn.Conv2d):
        return method.conv(layer, settings)
    assert isinstance(layer, nn.Linear)
    return method.linear(layer, settings)


def second_layer(case: str, dtype: torch.dtype) -> nn.Module:
    """The layer with the golden's own initialisation and drawn values for all the rest."""
    layer, stored = fresh_layer(case, dtype), golden(case)
    geometry = case.split("/")[1]
    given = {
        "weight": stored.get("init.weight", layer.weight),  # only BiMaCoSR changes the weight
        "skip_connection.values": stored.get("init.sparse_values"),
        "skip_connection.indices_float": stored.get("init.sparse_indices"),
        "lora.A.weight": stored.get("state.lora.A.weight"),
        "lora.B.weight": stored.get("state.lora.B.weight"),
    }
    state = layer.state_dict()
    for key, value in state.items():
        if key in given:
            found = given[key]
            assert found is not None
            state[key] = found.float()
        elif key != "bias":
            drawn = ref.synth().draw(f"layers/{geometry}/{key}", tuple(value.shape))
            state[key] = torch.from_numpy(drawn)
    layer.load_state_dict(state)
    return layer


def run(case: str, layer: nn.Module, dtype: torch.dtype) -> tuple[Tensor, Tensor, Grads]:
    """Output, gradient of the input, and gradient of each parameter that has one."""
    x = input_of(case.split("/")[1], dtype)
    y = layer(x)
    cotangent = ref.normal(f"cot:{case}", tuple(y.shape), dtype)
    (y * cotangent).sum().backward()
    assert x.grad is not None
    grads = {key: p.grad for key, p in layer.named_parameters() if p.grad is not None}
    return y, x.grad, grads


def f64_tolerance(stored: Tensor) -> float:
    return ref.F64 if stored.dtype == torch.float64 else ref.F64_STORED_F32


def test_all_methods_are_there() -> None:
    assert {settings_of(case).method for case in CASES} == set(METHODS)
    for method in set(METHODS) - {"bimacosr"}:
        geometries = [c.split("/")[1] for c in CASES if settings_of(c).method == method]
        assert geometries == GEOMETRIES


def test_all_variants_and_geometries_are_there() -> None:
    variants = {case.split("/")[0] for case in OURS}
    assert variants == {f"ours_r8_L{a}S{b}" for a in (0, 1) for b in (0, 1)} | {
        "ours_r4_L1S0",
        "ours_r4_L1S1",
    }
    geometries = {case.split("/")[1] for case in OURS}
    assert geometries == set(ref.meta("layers/layers")["geometry"])
    assert len(OURS) == 58


# BiDM's float shortcut starts at random where the channels differ
@pytest.mark.parametrize("case", [c for c in CASES if "fresh.y" in golden(c)])
@pytest.mark.parametrize("precision", DTYPES)
def test_fresh_layer(case: str, precision: str) -> None:
    dtype, stored = DTYPES[precision], golden(case)
    y, grad_x, _ = run(case, fresh_layer(case, dtype), dtype)
    tolerance = ref.F64 if precision == "f64" else F32_FRESH
    assert ref.deviation(y, stored["fresh.y"]) < tolerance
    assert ref.deviation(grad_x, stored["fresh.grad_x"]) < tolerance


@pytest.mark.parametrize("case", OURS)
@pytest.mark.parametrize("precision", DTYPES)
def test_initialisation(case: str, precision: str) -> None:
    layer, stored = fresh_layer(case, DTYPES[precision]), golden(case)
    state = layer.state_dict()
    tolerance = ref.F64 if precision == "f64" else F32_FRESH
    assert ref.deviation(state["weight"], stored["init.weight"]) < tolerance

    assert ("skip_connection.values" in state) == settings_of(case).sparse
    if settings_of(case).sparse:
        indices = state["skip_connection.indices_float"]
        assert torch.equal(indices.int(), stored["init.sparse_indices"])
        values = state["skip_connection.values"]
        assert ref.deviation(values, stored["init.sparse_values"]) < tolerance

    assert ("lora.A.weight" in state) == settings_of(case).low_rank
    if settings_of(case).low_rank:
        a, b = state["lora.A.weight"], state["lora.B.weight"]
        # a convolution computes B(A(x)), a fully connected layer A(B(x))
        product = b.flatten(1) @ a.flatten(1) if a.ndim == 4 else a @ b
        assert ref.deviation(product, stored["init.lora_product"]) < tolerance
        singular = torch.linalg.svdvals(product)[: len(stored["init.lora_singular"])]
        assert ref.deviation(singular, stored["init.lora_singular"]) < tolerance


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("precision", DTYPES)
def test_second_state(case: str, precision: str) -> None:
    stored = golden(case)
    y, grad_x, grads = run(case, second_layer(case, DTYPES[precision]), DTYPES[precision])
    ours = {"y": y, "grad_x": grad_x} | {f"grad.{key}": value for key, value in grads.items()}
    assert set(ours) == {k for k in stored if k in ("y", "grad_x") or k.startswith("grad.")}
    for key, value in ours.items():
        tolerance = f64_tolerance(stored[key]) if precision == "f64" else ref.F32_LAYER
        wanted = stored[key]
        if key == "grad.skip_connection.values":
            # stored in the official order of entries, which its topk leaves open
            value, wanted = value.sort().values, wanted.sort().values
        assert ref.deviation(value, wanted) < tolerance, key


@pytest.mark.parametrize("case", CASES)
def test_names_shapes_and_parameters_without_gradient(case: str) -> None:
    layer = second_layer(case, torch.float64)
    shapes = {key: list(value.shape) for key, value in layer.state_dict().items()}
    assert shapes == facts(case)["state_keys"]
    _, _, grads = run(case, layer, torch.float64)
    without = {key for key, _ in layer.named_parameters()} - set(grads)
    assert without == set(facts(case)["grad_none"])


class TestWhatTheOfficialCodeRefuses:
    def test_stride_2_with_other_channels_is_refused_at_once(self) -> None:
        conv = nn.Conv2d(16, 24, 3, stride=2, padding=1)
        with pytest.raises(OptionError, match="16 input and 24 output channels has no shortcut"):
            METHOD.conv(conv, BinarizeSettings())

    def test_rank_is_cut_to_the_layer(self) -> None:
        state = METHOD.conv(nn.Conv2d(4, 16, 3, padding=1), BinarizeSettings(rank=8)).state_dict()
        shapes = [list(state[f"lora.{name}.weight"].shape) for name in "AB"]
        official = ref.meta("layers/layers")["official_raises"]
        told = official["ours conv rank 8 with min(cin,cout)=4 (A,B take 4)"]
        assert str(shapes) == told == "[[4, 4, 1, 1], [16, 4, 1, 1]]"

    def test_too_few_entries_for_the_sparse_branch(self) -> None:
        with pytest.raises(OptionError, match=r"needs 16 entries, but the layer has only 8"):
            METHOD.conv(nn.Conv2d(1, 8, 3, padding=1), BinarizeSettings())
