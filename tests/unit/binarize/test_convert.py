"""Which layers become 1-bit, by which rule, and that nothing is left float in silence."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch
from torch import nn

from bimacosr.binarize.convert import binarize, layers_to_replace
from bimacosr.binarize.methods.bimacosr import METHOD, BiMaCoSRConv2d, BiMaCoSRLinear
from bimacosr.binarize.registry import METHODS, _by_id, find_method
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.errors import OptionError


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3)
        self.inner = nn.Sequential(nn.Conv2d(16, 16, 3), nn.PReLU(), nn.Linear(16, 8))
        self.first_too = nn.ModuleDict({"first": nn.Conv2d(16, 64, 3)})
        self.norm = nn.BatchNorm2d(16)
        self.last = nn.Linear(8, 8)


def rule(*keywords: str, most: int = 200_000) -> tuple[KeepFloatRule, ...]:
    return (KeepFloatRule(keywords=keywords, max_parameters=most),)


ALL = ["first", "inner.0", "inner.2", "first_too.first", "last"]


@pytest.mark.parametrize(
    ("settings", "replaced"),
    [
        ({}, ALL),
        ({"linear": False}, ["first", "inner.0", "first_too.first"]),
        ({"keep_float_conv": rule("first")}, ["inner.0", "inner.2", "last"]),
        ({"keep_float_conv": rule("first_")}, ["first", "inner.0", "inner.2", "last"]),
        # 3 * 16 * 9 + 16 parameters stay, 16 * 64 * 9 + 64 are too many
        (
            {"keep_float_conv": rule("first", most=448)},
            ["inner.0", "inner.2", "first_too.first", "last"],
        ),
        (
            {"keep_float_conv": rule("first", most=447)},
            ["first", "inner.0", "inner.2", "first_too.first", "last"],
        ),
        ({"keep_float_linear": rule("last")}, ["first", "inner.0", "inner.2", "first_too.first"]),
        ({"keep_float_linear": rule("inner.0")}, ALL),
        ({"keep_float_conv": rule("x") + rule("inner", "too")}, ["first", "inner.2", "last"]),
    ],
)
def test_rules(settings: dict[str, object], replaced: list[str]) -> None:
    assert layers_to_replace(Network(), BinarizeSettings(**settings)) == replaced


def test_layers_are_replaced_where_they_are() -> None:
    settings = BinarizeSettings(keep_float_conv=rule("first"))
    student = binarize(Network(), settings)
    assert isinstance(student, Network)
    kinds = {name: type(module) for name, module in student.named_modules()}
    assert kinds["inner.0"] is BiMaCoSRConv2d
    assert kinds["inner.2"] is kinds["last"] is BiMaCoSRLinear
    assert kinds["first"] is kinds["first_too.first"] is nn.Conv2d
    assert kinds["inner.1"] is nn.PReLU
    assert list(dict(student.named_children())) == ["first", "inner", "first_too", "norm", "last"]


def test_the_float_network_stays_as_it_was() -> None:
    network = Network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    student = binarize(network, BinarizeSettings(keep_float_conv=rule("first")))
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1)
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_what_is_kept_keeps_its_values() -> None:
    network = Network()
    student = binarize(network, BinarizeSettings(keep_float_conv=rule("first")))
    assert torch.equal(student.first.weight, network.first.weight)
    assert torch.equal(student.last.bias, network.last.bias)  # the bias of a replaced layer too


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_new_layers_have_the_type_of_the_old(dtype: torch.dtype) -> None:
    student = binarize(Network().to(dtype), BinarizeSettings(keep_float_conv=rule("first")))
    assert {value.dtype for key, value in student.state_dict().items() if "num" not in key} == {
        dtype
    }


class TestRegistry:
    def test_an_unknown_method_is_an_error(self) -> None:
        message = "there is no binarization method 'xor'; choose one of bimacosr"
        with pytest.raises(OptionError, match=message):
            find_method("xor")
        with pytest.raises(OptionError, match=message):
            binarize(Network(), BinarizeSettings(method="xor"))

    def test_every_method_is_listed_under_its_own_name(self) -> None:
        assert METHODS == {"bimacosr": METHOD}
        assert all(name == method.id == name.lower() for name, method in METHODS.items())
        assert all(method.source for method in METHODS.values())

    def test_two_methods_of_one_name(self) -> None:
        with pytest.raises(ValueError, match="two binarization methods are called 'bimacosr'"):
            _by_id(METHOD, METHOD)


class TestSettings:
    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("rank", 0, r"rank is 0; it must be at least 1 \(or set low_rank=False\)"),
            ("sign_of_zero", -1, "sign_of_zero is -1; it must be 0 or 1"),
            ("sign_gradient", "ste", "sign_gradient is 'ste'; it must be 'bireal' or"),
        ],
    )
    def test_a_bad_value_is_refused(self, field: str, value: object, message: str) -> None:
        with pytest.raises(OptionError, match=message):
            BinarizeSettings(**{field: value})

    def test_they_cannot_be_changed(self) -> None:
        with pytest.raises(FrozenInstanceError):
            BinarizeSettings().rank = 4

    def test_defaults_are_the_papers(self) -> None:
        settings = BinarizeSettings()
        assert (settings.method, settings.rank, settings.low_rank, settings.sparse) == (
            "bimacosr",
            8,
            True,
            True,
        )
        assert (settings.sign_of_zero, settings.sign_gradient) == (0, "bireal")
