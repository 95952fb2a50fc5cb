"""The Swin-UNet: layout, sizes it takes, what its errors say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bimacosr.config.networks import UNetSettings, realsrx4_unet
from bimacosr.errors import OptionError
from bimacosr.networks.unet import UNetModelSwin, build_unet

SETTINGS = UNetSettings(
    image_size=16,
    model_channels=32,
    channel_mult=(1, 2),
    num_res_blocks=(1, 2),
    attention_resolutions=(16, 8),
    swin_embed_dim=32,
    num_head_channels=16,
    mlp_ratio=2,
)


@pytest.fixture(scope="module")
def network() -> UNetModelSwin:
    torch.manual_seed(0)
    return build_unet(SETTINGS).requires_grad_(False)


def run(network: UNetModelSwin, x: Tensor, lq: Tensor) -> Tensor:
    out: Tensor = network(x, torch.tensor([3]), lq)
    return out


class TestSizes:
    @pytest.mark.parametrize("size", [(16, 16), (32, 16), (16, 48)])
    def test_multiples_of_the_deepest_windows(
        self, network: UNetModelSwin, size: tuple[int, int]
    ) -> None:
        assert run(network, torch.randn(1, 3, *size), torch.randn(1, 3, *size)).shape[2:] == size

    def test_what_the_multiple_is(self) -> None:
        assert build_unet(SETTINGS).latent_multiple == SETTINGS.latent_multiple == 16
        assert realsrx4_unet().latent_multiple == 64

    def test_latent_of_another_multiple(self, network: UNetModelSwin) -> None:
        with pytest.raises(OptionError, match=r"latent is 16x24 .* multiples of 16\. Pad"):
            run(network, torch.randn(1, 3, 16, 24), torch.randn(1, 3, 16, 24))

    def test_wrong_channels(self, network: UNetModelSwin) -> None:
        with pytest.raises(OptionError, match=r"3 \+ 4 channels; the network takes 6"):
            run(network, torch.randn(1, 3, 16, 16), torch.randn(1, 4, 16, 16))

    def test_picture_that_is_smaller_is_repeated(self, network: UNetModelSwin) -> None:
        x, lq = torch.randn(1, 3, 16, 16), torch.randn(1, 3, 4, 4)
        repeated = lq.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
        assert torch.equal(run(network, x, lq), run(network, x, repeated))

    def test_picture_that_is_larger_is_unshuffled(self) -> None:
        network = build_unet(UNetSettings(**{**as_dict(SETTINGS), "in_channels": 15}))
        assert run(network, torch.randn(1, 3, 16, 16), torch.randn(1, 3, 32, 32)).shape[1] == 3

    def test_picture_that_fits_in_no_way(self, network: UNetModelSwin) -> None:
        with pytest.raises(OptionError, match=r"32x32 after .* it must be 16x16"):
            run(network, torch.randn(1, 3, 16, 16), torch.randn(1, 3, 8, 8))


def as_dict(settings: UNetSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in UNetSettings.__dataclass_fields__}


def test_attention_only_where_listed_and_at_the_bottom() -> None:
    network = build_unet(UNetSettings(**{**as_dict(SETTINGS), "attention_resolutions": (16,)}))
    lengths = [len(stage) for stage in network.input_blocks]
    assert lengths == [1, 2, 1, 1, 1]
    assert len(network.middle_block) == 3
    assert [len(stage) for stage in network.output_blocks] == [1, 1, 2, 2, 1]


def test_each_time_step_matters(network: UNetModelSwin) -> None:
    x = torch.randn(2, 3, 16, 16)
    both = network(x, torch.tensor([3, 0]), x)
    alone = network(x[1:], torch.tensor([0]), x[1:])
    torch.testing.assert_close(both[1:], alone, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(both[1:], network(x[1:], torch.tensor([3]), x[1:]), atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_channels": 48}, r"model_channels is 48; it must be a multiple of 32"),
        ({"swin_embed_dim": 0}, r"swin_embed_dim is 0; it must be a multiple of 32"),
        ({"num_head_channels": 24}, r"must be a multiple of num_head_channels \(24\)"),
        ({"window_size": 0}, r"window_size is 0; it must be at least 1"),
        ({"channel_mult": ()}, r"channel_mult is \(\); it needs a factor"),
        ({"num_res_blocks": (1,)}, r"num_res_blocks is \(1,\); .* each of the 2 levels"),
        ({"attention_resolutions": (16, 2)}, r"has \[2\]; the levels are \[16, 8\]"),
        ({"image_size": 15}, r"image_size is 15; 2 levels need a multiple of 2"),
        ({"mlp_ratio": 0}, r"mlp_ratio is 0; it must be above 0"),
    ],
)
def test_settings_out_of_range(change: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        UNetSettings(**{**as_dict(SETTINGS), **change})
