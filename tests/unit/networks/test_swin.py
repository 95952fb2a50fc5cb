"""Windows, the official shift mask, and the errors of sizes that do not fit."""

from __future__ import annotations

import pytest
import torch

from bimacosr.errors import OptionError
from bimacosr.networks.swin import (
    BasicLayer,
    SwinBlock,
    map_from_windows,
    relative_position_index,
    shift_mask,
    windows_from_map,
)


def basic_layer(resolution: int, window: int, depth: int = 2) -> BasicLayer:
    torch.manual_seed(0)
    return BasicLayer(
        32,
        embed_dim=32,
        resolution=resolution,
        window=window,
        depth=depth,
        num_heads=2,
        mlp_ratio=2.0,
    ).requires_grad_(False)


def test_windows_are_row_major_and_come_back() -> None:
    x = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)
    windows = windows_from_map(x, 2)
    assert windows.shape == (2 * 2 * 3, 4, 3)
    assert windows[0, :, 0].tolist() == [0, 1, 6, 7]
    assert windows[1, :, 0].tolist() == [2, 3, 8, 9]
    assert torch.equal(map_from_windows(windows, 2, 4, 6), x)


def test_position_index_counts_rows_then_columns() -> None:
    index = relative_position_index(3)
    assert index.shape == (9, 9)
    assert int(index[0, 0]) == 12  # the middle of 25
    assert int(index[0, 8]) == 0
    assert int(index[8, 0]) == 24
    assert int(index[1, 0]) == 13  # one column to the right
    assert int(index[3, 0]) == 17  # one row down


def test_mask_parts_only_left_from_right_in_the_last_row_of_windows() -> None:
    """As the official code does; the paper's mask would also part the last column of windows."""
    mask = shift_mask(8, 12, 4, 2)
    assert mask.shape == (2 * 3, 16, 16)
    assert not mask[:3].any()
    right = torch.arange(16) % 4 >= 2
    apart = right[:, None] != right[None, :]
    for window in mask[3:]:
        assert torch.equal(window, -100.0 * apart)


class TestBasicLayer:
    def test_only_every_second_block_is_shifted_and_has_the_buffer(self) -> None:
        layer = basic_layer(16, 8, depth=3)
        shifts = [block.shift for block in layer.blocks]
        assert shifts == [0, 4, 0]
        assert ["attn_mask" in dict(block.named_buffers()) for block in layer.blocks] == [
            False,
            True,
            False,
        ]

    @pytest.mark.parametrize(("resolution", "side"), [(8, 8), (4, 4)])
    def test_a_map_no_larger_than_the_window_is_one_window(
        self, resolution: int, side: int
    ) -> None:
        for block in basic_layer(resolution, 8).blocks:
            assert isinstance(block, SwinBlock)
            assert (block.window, block.shift) == (side, 0)

    def test_the_buffer_is_not_read(self) -> None:
        layer = basic_layer(16, 8)
        x = torch.randn(1, 32, 16, 16)
        before = layer(x)
        layer.blocks[1].attn_mask.fill_(float("nan"))
        assert torch.equal(layer(x), before)

    def test_other_sizes_than_the_nominal_one(self) -> None:
        assert basic_layer(16, 8)(torch.randn(2, 32, 8, 24)).shape == (2, 32, 8, 24)

    def test_there_is_no_residual_around_it(self) -> None:
        layer = basic_layer(16, 8)
        layer.patch_unembed.proj.weight.zero_()
        layer.patch_unembed.proj.bias.zero_()
        assert not layer(torch.randn(1, 32, 16, 16)).any()

    def test_batch_entries_do_not_mix(self) -> None:
        layer, x = basic_layer(16, 8).double(), torch.randn(3, 32, 16, 16, dtype=torch.float64)
        torch.testing.assert_close(layer(x)[1:2], layer(x[1:2]))

    def test_map_that_is_no_multiple_of_the_window(self) -> None:
        with pytest.raises(
            OptionError, match=r"feature map is 16x20 .* windows of 8 need multiples"
        ):
            basic_layer(16, 8)(torch.randn(1, 32, 16, 20))
