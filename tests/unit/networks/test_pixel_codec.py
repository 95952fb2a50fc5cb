"""The codec without parameters: pixels move into channels and back."""

from __future__ import annotations

import pytest
import torch

from bimacosr.networks.pixel_codec import PixelCodec


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_decoding_undoes_encoding(scale: int) -> None:
    codec = PixelCodec(scale)
    picture = torch.rand(2, 3, 5 * scale, 4 * scale)
    latent = codec.encode(picture)
    assert latent.shape == (2, 3 * scale**2, 5, 4)
    assert torch.equal(codec.decode(latent), picture)
    assert torch.equal(codec.encode(codec.decode(latent)), latent)


def test_channels_go_by_colour_then_row_then_column() -> None:
    picture = torch.arange(3 * 4 * 6).reshape(1, 3, 4, 6)
    latent = PixelCodec(2).encode(picture)
    for colour in range(3):
        for dy in (0, 1):
            for dx in (0, 1):
                channel = latent[0, 4 * colour + 2 * dy + dx]
                assert torch.equal(channel, picture[0, colour, dy::2, dx::2])


def test_it_has_nothing_to_learn() -> None:
    assert not list(PixelCodec().parameters())
    assert PixelCodec().scale == 4
