"""A deepened network: the same function at first, and able to learn in its new blocks."""

from __future__ import annotations

import pytest
import torch

from bimacosr.errors import OptionError
from bimacosr.networks.edge import EdgeNet
from bimacosr.train.deepen import deepen


def trained_network(blocks: int) -> EdgeNet:
    torch.manual_seed(blocks)
    network = EdgeNet(channels=8, blocks=blocks, scale=2)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


@pytest.mark.parametrize(("blocks", "wanted"), [(3, 3), (3, 4), (4, 6), (2, 4)])
def test_the_function_stays(blocks: int, wanted: int) -> None:
    network, deeper = trained_network(blocks), EdgeNet(channels=8, blocks=wanted, scale=2)
    deeper.load_state_dict(deepen(network.state_dict(), blocks, wanted))
    z, t, photo = torch.randn(2, 12, 6, 6), torch.zeros(2), torch.randn(2, 3, 6, 6)
    assert torch.equal(deeper(z, t, photo), network(z, t, photo))
    deeper(z, t, photo).sum().backward()
    assert all(torch.any(block.gain.grad != 0) for block in deeper.body)  # type: ignore[union-attr]


@pytest.mark.parametrize("wanted", [2, 7])
def test_impossible_depths_are_refused(wanted: int) -> None:
    with pytest.raises(OptionError, match=f"3 blocks can become 3 to 6, not {wanted}"):
        deepen(trained_network(3).state_dict(), 3, wanted)
