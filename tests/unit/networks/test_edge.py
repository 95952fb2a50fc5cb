"""EdgeNet: its formula, how far it sees, and that a tile gives the pixels of the whole picture."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bimacosr.binarize.convert import binarize
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.edge import EdgeSettings
from bimacosr.errors import OptionError
from bimacosr.networks.edge import EdgeBlock, EdgeNet

BLOCKS, SCALE = 3, 2


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def network() -> EdgeNet:
    torch.manual_seed(1)
    made = EdgeNet(16, BLOCKS, SCALE).double().requires_grad_(False)
    for k, parameter in enumerate(made.parameters()):
        parameter.add_(0.05 * normal(*parameter.shape, seed=k))
    return made


@pytest.fixture(scope="module", params=["float", "1-bit"])
def either(request: pytest.FixtureRequest, network: EdgeNet) -> EdgeNet:
    if request.param == "float":
        return network
    rules = (KeepFloatRule(keywords=("first", "last")),)
    student = binarize(network, BinarizeSettings(rank=2, keep_float_conv=rules))
    return student.requires_grad_(False)


def inputs(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    x = normal(1, 3 * SCALE**2, height, width, seed=8)
    return x, torch.zeros(1), normal(1, 3, height, width, seed=9)


def test_block_is_its_formula() -> None:
    block = EdgeBlock(8).double()
    with torch.no_grad():
        for k, parameter in enumerate(block.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=k))
    x = normal(2, 8, 5, 4)
    branch = F.conv2d(x + block.shift, block.conv.weight, block.conv.bias, padding=1)
    branch = torch.where(branch < 0, block.act.weight[:, None, None] * branch, branch)
    torch.testing.assert_close(block(x), x + block.gain * branch)


def test_network_is_its_formula(network: EdgeNet) -> None:
    x, t, lq = inputs(6, 5)
    features = F.conv2d(torch.cat([x, lq], 1), network.first.weight, network.first.bias, padding=1)
    for block in network.body:
        features = block(features)
    wanted = F.conv2d(features, network.last.weight, network.last.bias, padding=1)
    torch.testing.assert_close(network(x, t, lq), wanted)
    assert wanted.shape == (1, 12, 6, 5)
    assert wanted.std() > 0.1


def test_an_untrained_network_changes_nothing() -> None:
    network = EdgeNet(16, 2, 4)
    residual = network(torch.randn(1, 48, 7, 6), torch.zeros(1), torch.randn(1, 3, 7, 6))
    assert not residual.any()


def test_names_and_number_of_parameters() -> None:
    network = EdgeNet()
    leaves = ["shift", "gain", "conv.weight", "conv.bias", "act.weight"]
    body = [f"body.{k}.{leaf}" for k in range(12) for leaf in leaves]
    ends = [f"{end}.{leaf}" for end in ("first", "last") for leaf in ("weight", "bias")]
    assert sorted(network.state_dict()) == sorted(body + ends)
    first, block, last = 51 * 64 * 9 + 64, 64 * 64 * 9 + 4 * 64, 64 * 48 * 9 + 48
    assert sum(p.numel() for p in network.parameters()) == first + 12 * block + last


def test_the_time_step_is_not_used(network: EdgeNet) -> None:
    x, t, lq = inputs(4, 4)
    assert torch.equal(network(x, t, lq), network(x, t + 14, lq))


def test_it_sees_exactly_as_far_as_its_convolutions_reach(either: EdgeNet) -> None:
    reach, size = BLOCKS + 2, 2 * (BLOCKS + 2) + 5
    x, t, lq = inputs(size, size)
    changed_lq = lq.clone()
    changed_lq[..., size // 2, size // 2] += 3
    changed = (either(x, t, changed_lq) - either(x, t, lq)).abs().amax((0, 1)) > 1e-9
    rows, columns = changed.nonzero().T
    assert int((rows - size // 2).abs().max()) == reach
    assert int((columns - size // 2).abs().max()) == reach
    # two more for the bicubic picture under z_y
    settings = EdgeSettings(channels=16, blocks=BLOCKS, scale=SCALE)
    assert settings.receptive_radius == reach + 2


def test_a_tile_gives_the_pixels_of_the_whole_picture(either: EdgeNet) -> None:
    x, t, lq = inputs(24, 26)
    margin = BLOCKS + 2
    whole = either(x, t, lq)
    part = either(x[..., 4:20, 5:23], t, lq[..., 4:20, 5:23])
    inside = (..., slice(margin, -margin), slice(margin, -margin))
    wanted = whole[..., 4 + margin : 20 - margin, 5 + margin : 23 - margin]
    torch.testing.assert_close(part[inside], wanted, rtol=1e-10, atol=1e-10)
    # and not at its edge, where zeros are padded: the margin is needed
    assert not torch.allclose(part[..., 0, margin:-margin], whole[..., 4, 5 + margin : 23 - margin])


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "least", "most"), [("channels", 8, 1024), ("blocks", 1, 256), ("scale", 2, 8)]
    )
    def test_ranges(self, name: str, least: int, most: int) -> None:
        for value in (least, most):
            assert getattr(EdgeSettings(**{name: value}), name) == value
        for value in (least - 1, most + 1):
            message = f"{name} is {value}; it must be from {least} to {most}"
            with pytest.raises(OptionError, match=message):
                EdgeSettings(**{name: value})

    def test_names_are_those_of_the_network(self) -> None:
        fields = dataclasses.asdict(EdgeSettings(channels=8, blocks=1, scale=2))
        assert sum(1 for _ in EdgeNet(**fields).parameters()) == 9
