"""The UNet's blocks: types, sizes, and what the time step does."""

from __future__ import annotations

import pytest
import torch

from bimacosr.networks.blocks import (
    Downsample,
    GroupNorm32,
    ResBlock,
    Upsample,
    timestep_embedding,
)


class TestTimestepEmbedding:
    def test_cosines_come_first(self) -> None:
        embedding = timestep_embedding(torch.tensor([0, 5]), 8)
        assert embedding[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
        assert embedding[1, 0] == torch.cos(torch.tensor(5.0))
        assert embedding[1, 4] == torch.sin(torch.tensor(5.0))

    def test_odd_width_ends_in_zero(self) -> None:
        embedding = timestep_embedding(torch.tensor([7]), 9)
        assert embedding.shape == (1, 9)
        assert embedding[0, 8] == 0

    @pytest.mark.parametrize("dtype", [torch.int64, torch.float64, torch.float16])
    def test_is_float32_whatever_the_step_is(self, dtype: torch.dtype) -> None:
        embedding = timestep_embedding(torch.tensor([3]).to(dtype), 16)
        assert embedding.dtype == torch.float32
        assert torch.equal(embedding, timestep_embedding(torch.tensor([3]), 16))


class TestGroupNorm:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_goes_through_float32(self, dtype: torch.dtype) -> None:
        x = (100 + torch.randn(1, 32, 8, 8, generator=torch.Generator().manual_seed(0))).to(dtype)
        norm = GroupNorm32(32)
        assert torch.equal(norm(x), norm(x.float()).to(dtype))
        assert torch.equal(norm.to(dtype)(x), norm(x.float()).to(dtype))

    def test_float64_stays(self) -> None:
        x = torch.randn(1, 32, 8, 8, dtype=torch.float64)
        assert GroupNorm32(32)(x).dtype == torch.float64


class TestResBlock:
    @pytest.mark.parametrize("scale_shift", [True, False])
    @pytest.mark.parametrize("cout", [32, 64])
    def test_shape(self, cout: int, scale_shift: bool) -> None:
        block = ResBlock(32, cout, emb_channels=16, use_scale_shift_norm=scale_shift)
        assert block(torch.ones(2, 32, 4, 6), torch.ones(2, 16)).shape == (2, cout, 4, 6)

    def test_scale_comes_before_shift(self) -> None:
        block = ResBlock(32, 32, emb_channels=4).requires_grad_(False)
        linear, norm = block.emb_layers[1], block.out_layers[0]
        linear.weight.zero_()
        linear.bias[:32], linear.bias[32:] = -1.0, 3.0  # scale by 1 - 1 = 0, shift to 3
        seen = []
        block.out_layers[1].register_forward_hook(lambda module, args, out: seen.append(args[0]))
        block(torch.randn(1, 32, 4, 4), torch.randn(1, 4))
        assert isinstance(norm, GroupNorm32)
        assert torch.equal(seen[0], torch.full((1, 32, 4, 4), 3.0))

    def test_without_scale_the_step_is_added_before_the_norm(self) -> None:
        block = ResBlock(32, 32, emb_channels=4, use_scale_shift_norm=False).requires_grad_(False)
        block.emb_layers[1].weight.zero_()
        x, emb = torch.randn(1, 32, 4, 4), torch.randn(1, 4)
        before = block(x, emb)
        block.emb_layers[1].bias.add_(5.0)  # one channel a group: the norm takes it out again
        torch.testing.assert_close(block(x, emb), before, atol=1e-4, rtol=0)


def test_resampling_halves_and_doubles() -> None:
    x = torch.randn(1, 8, 6, 4)
    assert Downsample(8)(x).shape == (1, 8, 3, 2)
    assert Upsample(8)(x).shape == (1, 8, 12, 8)
