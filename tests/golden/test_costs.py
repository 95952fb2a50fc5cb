"""Parameters and operations of the paper's networks against those counted in the official code.

Every figure of `costs.json` is compared: counts exactly, quotients to rounding. Its sums by rule
have names (P1, M1...); here they are made of our parts again.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from bimacosr.binarize.convert import binarize
from bimacosr.binarize.registry import METHODS
from bimacosr.costs.count import Cost, count
from bimacosr.costs.rules import account, macs_by_rule, parameters_by_rule
from bimacosr.costs.subjects import PAPER_NETWORKS, inputs_of, open_subject
from tests.golden import reference as ref

GOLDEN: dict[str, Any] = ref.meta("costs") if ref.FOLDER.is_dir() else {"accounts": {}}
OURS: dict[str, dict[str, Any]] = {
    "ours_r8": {},
    "ours_r4": {"rank": 4},
    "ours_r2": {"rank": 2},
    "ours_r16": {"rank": 16},
    "ours_SMB_only": {"low_rank": False},
    "ours_LRMB_only": {"sparse": False},
    "ours_LRMB_only_r4": {"sparse": False, "rank": 4},
    "ours_none": {"sparse": False, "low_rank": False},
}
KINDS = {"3x3 convolution": "conv3", "1x1 convolution": "conv1", "linear": "linear"}
EXACT = 1e-12  # quotients of integers, rounded once


@cache
def float_network() -> nn.Module:
    return open_subject("resshift").network


@cache
def costs_of(variant: str | None) -> list[Cost]:
    """The parts of the float network, or of the student of that name in the golden."""
    network = float_network()
    if variant is not None:
        official = PAPER_NETWORKS["bimacosr-student"]
        assert official is not None
        options = OURS[variant] if variant in OURS else {"method": variant.lower()}
        with torch.device("meta"):
            network = binarize(network, replace(official, **options))
    return count(network, inputs_of(network, 64, 64))


def numbers(variant: str | None, *kinds: str, one_bit: bool | None = None) -> int:
    return sum(c.parameters for c in chosen(variant, *kinds, one_bit=one_bit))


def macs(variant: str | None, *kinds: str, one_bit: bool | None = None) -> int:
    return sum(c.macs for c in chosen(variant, *kinds, one_bit=one_bit))


def chosen(variant: str | None, *kinds: str, one_bit: bool | None = None) -> list[Cost]:
    return [c for c in costs_of(variant) if c.kind in kinds and one_bit in (None, c.one_bit)]


def test_the_size_is_that_of_the_golden() -> None:
    latent, _, lq = inputs_of(float_network(), 64, 64)
    told = f"{latent.shape[0]} x ({latent.shape[1]}+{lq.shape[1]}) x 64 x 64"
    assert told == GOLDEN["latent"]


def test_the_float_network() -> None:
    other = sum(c.parameters for c in costs_of(None) if c.kind in ("norm", "position table"))
    assert GOLDEN["float"] == {
        "params": sum(c.parameters for c in costs_of(None)),
        "macs_conv_linear": macs(None, *KINDS),
        "macs_attention_matmuls": macs(None, "attention products"),
        "params_other (norms, position tables)": other,
    }


@pytest.mark.parametrize("variant", [None, "ours_r8"])
def test_every_layer(variant: str | None) -> None:
    layers = {c.layer: c for c in chosen(variant, *KINDS)}
    biases = {c.layer: c.parameters for c in chosen(variant, "bias")}
    assert set(layers) == set(GOLDEN["layers"])
    for name, told in GOLDEN["layers"].items():
        ours, source = layers[name], float_network().get_submodule(name)
        assert isinstance(source, nn.Conv2d | nn.Linear)
        assert ours.one_bit == (told["one_bit"] and variant is not None)
        assert told == {
            "kind": KINDS[ours.kind],
            "in": source.weight.shape[1],
            "out": source.weight.shape[0],
            "weight": ours.parameters,
            "bias": biases[name],
            "macs": ours.macs,
            "one_bit": told["one_bit"],
            "tokens_or_pixels": ours.macs // ours.parameters,
        }


def test_every_attention() -> None:
    ours = {c.layer: c.macs for c in chosen(None, "attention products")}
    assert ours == GOLDEN["attention_matmul_macs"]


def test_all_students_are_there() -> None:
    assert set(GOLDEN["accounts"]) - set(OURS) == {
        "XNOR", "HORQ", "ReSTE", "BBCU", "ReActNet", "BiDM",
    }  # fmt: skip
    assert {name.lower() for name in set(GOLDEN["accounts"]) - set(OURS)} < set(METHODS)


def by_name(variant: str) -> tuple[dict[str, float], dict[str, float]]:
    """The golden's sums by the paper's rule, of our parts."""
    every = costs_of(variant)

    def without(*kinds: str) -> list[Cost]:
        return [c for c in every if c.kind not in kinds]

    low, sparse = "low-rank branch", "sparse branch"
    extra = ("activation and offset", "shortcut and filter")
    indices = 2 * numbers(variant, sparse)
    sums = {
        "P1 binary/32 + float weights + biases + norms": without(low, sparse, *extra),
        "P2 = P1 + lora": without(sparse, *extra),
        "P3 = P2 + sparse values": without(*extra),
        "P5 = P3 + RPReLU, move0, thresholds": every,
        "P7 weights only: binary/32 + float + lora + values": without(
            "bias", "norm", "position table", *extra
        ),
    }
    parameters = {name: parameters_by_rule(costs) for name, costs in sums.items()}
    p3 = "P3 = P2 + sparse values"
    stored = "P4 = P3 + sparse indices (2 per value, float32 as stored)"
    parameters[stored] = parameters[p3] + indices
    parameters["P6 = everything"] = parameters_by_rule(every) + indices
    # the golden leaves BiDM's float shortcut out of its operations
    products = {
        "M1 binary/64 + float": without(low, sparse, "attention products", *extra),
        "M2 = M1 + lora": without(sparse, "attention products", *extra),
        "M3 = M2 + sparse": without("attention products", *extra),
        "M4 = M3 + attention": without(*extra),
        "M5 = M1 + attention": without(low, sparse, *extra),
    }
    return parameters, {name: macs_by_rule(costs) for name, costs in products.items()}


@pytest.mark.parametrize("variant", GOLDEN["accounts"])
class TestStudents:
    def test_counts(self, variant: str) -> None:
        told = GOLDEN["accounts"][variant]
        extra = ("activation and offset", "shortcut and filter")
        assert {key: value for key, value in told.items() if not key.endswith("by_rule")} == {
            "weight_binary": numbers(variant, *KINDS, one_bit=True),
            "weight_float": numbers(variant, *KINDS, one_bit=False),
            "bias": numbers(variant, "bias"),
            "norms_tables": numbers(variant, "norm", "position table"),
            "lora": numbers(variant, "low-rank branch"),
            "sparse_values": numbers(variant, "sparse branch"),
            "sparse_indices": sum(
                c.float_bytes // 4 - c.parameters for c in chosen(variant, "sparse branch")
            ),
            "rprelu_move_threshold_etc": numbers(variant, *extra),
            "all_parameters": sum(c.parameters for c in costs_of(variant)),
            "macs_binary": macs(variant, *KINDS, one_bit=True),
            "macs_float": macs(variant, *KINDS, one_bit=False),
            "macs_attention": macs(variant, "attention products"),
            "macs_lora": macs(variant, "low-rank branch"),
            "macs_sparse": macs(variant, "sparse branch"),
        }

    def test_sums_by_the_rule(self, variant: str) -> None:
        told = GOLDEN["accounts"][variant]
        parameters, products = by_name(variant)
        params = sum(c.parameters for c in costs_of(None))
        layers_only = macs(None, *KINDS)
        everything = layers_only + macs(None, "attention products")
        assert {
            name: pytest.approx([p, params / p], rel=EXACT) for name, p in parameters.items()
        } == (told["params_by_rule"])
        assert {
            name: pytest.approx([m, layers_only / m, everything / m], rel=EXACT)
            for name, m in products.items()
        } == told["macs_by_rule"]


def test_the_ratios_of_the_paper() -> None:
    """Rounded as the paper gives them; at any other rank one of them is missed."""
    told = {}
    for variant in OURS:
        ratios = account(costs_of(variant), costs_of(None)).ratios
        told[variant] = round(ratios.paper_parameters, 1), round(ratios.paper_macs, 1)
    assert [variant for variant, both in told.items() if both == (23.8, 27.4)] == ["ours_r8"]


class TestNoOtherSelectionGivesThePapersRatios:
    """What `rules.account` takes for the paper's selection is the only one of those tried."""

    def test_parameters(self) -> None:
        told = GOLDEN["accounts"]["ours_r8"]
        least = told["weight_binary"] / 32 + told["weight_float"]
        divided = {
            "float network": GOLDEN["float"]["params"],
            "its weights": told["weight_binary"] + told["weight_float"],
            "student": told["all_parameters"],
        }
        # 3/2 and 3: half and all of the sparse branch with a row and a column for each value
        choices = product(divided, (0, 1), (0, 1 / 2, 1, 3 / 2, 2, 3), (0, 1), (0, 1), (0, 1))
        tried = {
            choice: divided[choice[0]]
            / (
                least
                + choice[1] * told["lora"]
                + choice[2] * told["sparse_values"]
                + choice[3] * told["bias"]
                + choice[4] * told["norms_tables"]
                + choice[5] * told["rprelu_move_threshold_etc"]
            )
            for choice in choices
        }
        assert len(tried) == 288
        found = [choice for choice, ratio in tried.items() if round(ratio, 1) == 23.8]
        assert found == [("student", 1, 1 / 2, 0, 0, 0)]

    def test_operations(self) -> None:
        told = GOLDEN["accounts"]["ours_r8"]
        least = told["macs_binary"] / 64 + told["macs_float"]
        layers = GOLDEN["float"]["macs_conv_linear"]
        branches = told["macs_lora"] + told["macs_sparse"]
        divided = {
            "layers": layers,
            "layers and attention": layers + told["macs_attention"],
            "layers and branches": layers + branches,
            "all": layers + branches + told["macs_attention"],
        }
        tried = {
            choice: divided[choice[0]]
            / (
                least
                + choice[1] * told["macs_lora"]
                + choice[2] * told["macs_sparse"]
                + choice[3] * told["macs_attention"]
            )
            for choice in product(divided, (0, 1), (0, 1 / 2, 1, 2), (0, 1))
        }
        assert len(tried) == 64
        found = [choice for choice, ratio in tried.items() if round(ratio, 1) == 27.4]
        assert found == [("layers and attention", 1, 1 / 2, 0)]
