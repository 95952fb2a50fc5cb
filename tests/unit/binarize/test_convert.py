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
        message = "there is no binarization method 'xor'; choose one of bbcu, bidm, "
        message += "bimacosr, horq, reactnet, reste, xnor$"
        with pytest.raises(OptionError, match=message):
            find_method("xor")
        with pytest.raises(OptionError, match=message):
            binarize(Network(), BinarizeSettings(method="xor"))

    def test_every_method_is_listed_under_its_own_name(self) -> None:
        ids = ["bimacosr", "xnor", "horq", "reste", "reactnet", "bbcu", "bidm"]
        assert list(METHODS) == ids
        assert METHODS["bimacosr"] is METHOD
        assert all(name == method.id == name.lower() for name, method in METHODS.items())
        assert all(method.source for method in METHODS.values())

    def test_two_methods_of_one_name(self) -> None:
        with pytest.raises(ValueError, match="two binarization methods are called 'bimacosr'"):
            _by_id(METHOD, METHOD)


BASELINES = sorted(set(METHODS) - {"bimacosr"})


@pytest.mark.parametrize("method", BASELINES)
class TestBaselines:
    def test_a_network_is_replaced_and_runs(self, method: str) -> None:
        settings = BinarizeSettings(method=method, keep_float_conv=rule("first"))
        student = binarize(Network().double(), settings)
        assert type(student.inner[0]) is not nn.Conv2d
        assert type(student.last) is not nn.Linear
        assert {value.dtype for value in student.inner.state_dict().values()} == {torch.float64}
        x = torch.ones(2, 16, 5, 5, dtype=torch.float64)
        if method != "bidm":  # its shortcut needs maps that keep their size
            assert student.inner[0](x).shape == (2, 16, 3, 3)
        assert student.inner[2](x[..., 0, 0]).shape == (2, 8)

    def test_no_bias_and_sign_of_zero(self, method: str) -> None:
        settings = BinarizeSettings(method=method, sign_of_zero=1)
        x = torch.zeros(1, 4, 2, 2)
        layer = METHODS[method].conv(nn.Conv2d(4, 4, 1, bias=False), settings)
        dense = METHODS[method].linear(nn.Linear(4, 4, bias=False), settings)
        assert layer.bias is dense.bias is None
        assert layer(x).isfinite().all()
        # an activation of 0 counts as +1 where no scale of 0 multiplies it
        wanted = dense.weight.abs().mean(1) * dense.weight.sign().sum(1)
        if method in ("xnor", "horq"):
            wanted = 0 * wanted
        torch.testing.assert_close(dense(x[..., 0, 0])[0], wanted)

    def test_the_gradient_cannot_be_chosen(self, method: str) -> None:
        settings = BinarizeSettings(method=method, sign_gradient="bireal_relative")
        for make in (
            lambda: METHODS[method].conv(nn.Conv2d(4, 4, 1), settings),
            lambda: METHODS[method].linear(nn.Linear(4, 4), settings),
        ):
            with pytest.raises(OptionError, match="has a gradient of its own"):
                make()

    def test_convolutions_of_other_kinds(self, method: str) -> None:
        for options in ({"groups": 2}, {"dilation": 2}, {"padding_mode": "reflect"}):
            conv = nn.Conv2d(8, 8, 3, **options)
            with pytest.raises(OptionError, match="no 1-bit convolution with groups"):
                METHODS[method].conv(conv, BinarizeSettings(method=method))


def test_the_filter_of_bidm_is_an_average_until_it_is_trained() -> None:
    layer = METHODS["bidm"].conv(nn.Conv2d(4, 4, 3, padding=1), BinarizeSettings(method="bidm"))
    x = torch.ones(1, 4, 5, 5)
    with torch.no_grad():
        layer.fliter_k.weight.fill_(7)
    layer(x)
    assert layer.fliter_k.weight.unique().tolist() == pytest.approx([1 / 9])
    with torch.no_grad():
        layer.fliter_k.weight.fill_(7)
    layer(x)
    assert layer.fliter_k.weight.unique().tolist() == [7]


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
