"""The binarized Swin-UNet against the official student: what is replaced, and three states, tiny.

What the states are is told in `students.py`; the full-size runs are in `test_student_full.py`.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from bimacosr.binarize.convert import binarize, layers_to_replace
from bimacosr.networks.unet import UNetModelSwin, build_unet
from tests.golden import reference as ref
from tests.golden import students
from tests.golden.students import RULE, SETTINGS, golden
from tests.golden.time_embedding import feed_stored_time_embedding

NAME = "student_tiny"
DTYPES = {"f64": torch.float64, "f32": torch.float32}
RUNS = ("t14", "t3_0", "rect")


@pytest.fixture(autouse=True)
def stored_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    feed_stored_time_embedding(monkeypatch)


@cache
def student(state: str, precision: str) -> UNetModelSwin:
    if state == "A":
        return students.build(NAME, DTYPES[precision])
    network = copy.deepcopy(student("A", precision))
    students.fill(network, state)
    return network


@pytest.mark.parametrize("name", ["student_tiny", "student_full"])
def test_the_same_layers_are_replaced_in_the_same_order(name: str) -> None:
    with torch.device("meta"):
        network = build_unet(ref.unet_settings(golden(name)["config"]))
    replaced = layers_to_replace(network, SETTINGS)
    assert replaced == golden(name)["replaced"]
    assert len(replaced) == {"student_tiny": 90, "student_full": 178}[name]
    layers = [k for k, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert [k for k in layers if k not in replaced] == golden(name)["kept_float"]


@pytest.mark.parametrize("name", ["student_tiny", "student_full"])
def test_settings_are_the_official_ones(name: str) -> None:
    told = golden(name)["quant_config"]
    (rule,) = told["which_fp_conv"]
    assert tuple(rule["skip_keywords"]) == RULE.keywords
    assert rule["param_threshold"] * 1e6 == RULE.max_parameters
    assert told["which_fp_linear"] == list(SETTINGS.keep_float_linear)
    assert told["binary_linear"] == SETTINGS.linear
    branches = {"rank": SETTINGS.rank, "if_SMB": SETTINGS.sparse, "if_LRMB": SETTINGS.low_rank}
    assert told["conv_quant_config"] == told["linear_quant_config"] == branches
    for kind in ("Conv2d", "Linear"):
        official = told["conv_quant_modules" if kind == "Conv2d" else "linear_quant_modules"]
        assert official == f"Binary{kind}_ours_with_skip_and_lora"


VARIANTS: dict[str, dict[str, Any]] = {
    "ours_r8": {},
    "ours_r4": {"rank": 4},
    "ours_SMB_only": {"low_rank": False},
    "ours_LRMB_only": {"sparse": False},
    "ours_LRMB_only_r4": {"sparse": False, "rank": 4},
    "ours_none": {"sparse": False, "low_rank": False},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_state_dict_of_the_full_student(variant: str) -> None:
    """Names, shapes and types are those of the official checkpoints, for each ablation."""
    keys = ref.meta("keys_student")
    wanted = dict(keys["ours_r8"])
    if variant != "ours_r8":
        wanted |= keys[variant]["changed_or_added"]
        wanted = {k: v for k, v in wanted.items() if k not in keys[variant]["removed"]}
    settings = replace(SETTINGS, **VARIANTS[variant])
    with torch.device("meta"):
        network = binarize(
            build_unet(ref.unet_settings(golden("student_full")["config"])), settings
        )
    state = network.state_dict()
    ours = {k: [list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in state.items()}
    assert ours == wanted


class TestInitialisation:
    """State A: what each layer is made of."""

    def test_layers_in_float64(self) -> None:
        students.check_initialisation(student("A", "f64"), NAME)

    def test_float32_chooses_the_same_sparse_entries(self) -> None:
        told = golden(NAME)["states"]["A"]["init_f32_vs_f64"]
        assert told["layers_with_other_sparse_set"] == []
        wide, narrow = (student("A", p).state_dict() for p in ("f64", "f32"))
        indices = [key for key in wide if key.endswith("indices_float")]
        assert len(indices) == 90
        assert all(torch.equal(wide[k], narrow[k].double()) for k in indices)


@torch.no_grad()
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("state", ["A", "B", "C"])
def test_float64(state: str, run: str) -> None:
    """Output, blocks where they are stored, and every layer."""
    network, told = student(state, "f64"), students.facts(NAME, state, run)
    prefix = f"{state}/{run}/"
    stored = {
        key.removeprefix(prefix): value
        for key, value in ref.tensors(NAME).items()
        if key.startswith(prefix)
    }
    wanted = stored.pop("out")
    blocks = {key.removeprefix("block/"): value for key, value in stored.items()}
    assert len(blocks) == (15 if run == "t14" else 0)
    with (
        ref.recorded_outputs(network, set(blocks)) as outputs,
        students.measured(network, told["layers_f64"]) as found,
        students.recorded_signs(network, golden(NAME)["replaced"]) as signs,
    ):
        out = network(*students.inputs_of(NAME, state, run, torch.float64))
    assert ref.deviation(out, wanted) < ref.F64
    assert ref.statistics_deviation(out, told["out_stats"]) < students.STATISTICS
    for name, value in blocks.items():
        assert ref.deviation(outputs[name], value) < ref.F64_STORED_F32, name
    students.check_layers(found, NAME, state, run)
    assert sum(s.numel() for s in signs.values()) == told["activations_total"]


@torch.no_grad()
@pytest.mark.parametrize("run", RUNS)
def test_state_c_in_float32(run: str) -> None:
    told = students.facts(NAME, "C", run)
    signs = []
    for precision, dtype in DTYPES.items():
        network = student("C", precision)
        with students.recorded_signs(network, golden(NAME)["replaced"]) as found:
            out = network(*students.inputs_of(NAME, "C", run, dtype))
        signs.append(found)
    assert ref.deviation(out, ref.tensors(NAME)[f"C/{run}/out"]) < ref.F32_NETWORK
    assert told["flips_total"] == 0
    assert all(torch.equal(signs[0][key], signs[1][key]) for key in signs[0])
