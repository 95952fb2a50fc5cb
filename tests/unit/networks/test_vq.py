"""The autoencoder: sizes, quantization, gradients, errors."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bimacosr.config.networks import AutoencoderSettings, vq_f4
from bimacosr.errors import OptionError
from bimacosr.networks import vq as vq_module
from bimacosr.networks.vq import Codebook, VQAutoencoder, build_autoencoder

SETTINGS = AutoencoderSettings(channels=32, channel_mult=(1, 2, 2), num_res_blocks=1, n_embed=16)


@pytest.fixture(scope="module")
def network() -> VQAutoencoder:
    torch.manual_seed(0)
    return build_autoencoder(SETTINGS).requires_grad_(False)


def test_four_times_smaller_and_back(network: VQAutoencoder) -> None:
    z = network.encode(torch.zeros(2, 3, 16, 24))
    assert z.shape == (2, 3, 4, 6)
    assert network.decode(z).shape == (2, 3, 16, 24)
    assert network.scale == SETTINGS.scale == vq_f4().scale == 4


def test_encode_does_not_quantize(network: VQAutoencoder) -> None:
    z = network.encode(torch.randn(1, 3, 16, 16))
    assert not torch.allclose(network.quantize(z).z, z)
    assert torch.equal(network.decode(z), network.decode(network.quantize(z).z, quantize=False))


def test_attention_is_the_softmax_formula() -> None:
    torch.manual_seed(0)
    block = vq_module.AttnBlock(32).double().requires_grad_(False)
    x = torch.randn(2, 32, 3, 5, dtype=torch.float64)
    h = block.norm(x)
    q, k, v = (conv(h).flatten(2) for conv in (block.q, block.k, block.v))  # (B, C, N)
    weights = torch.softmax(q.transpose(1, 2) @ k * 32**-0.5, dim=2)
    mixed = (v @ weights.transpose(1, 2)).reshape(x.shape)
    torch.testing.assert_close(block(x), x + block.proj_out(mixed))


class TestCodebook:
    @pytest.fixture
    def codebook(self) -> Codebook:
        torch.manual_seed(0)
        codebook = Codebook(16, 3)
        torch.nn.init.normal_(codebook.embedding.weight)
        return codebook

    def test_nearest(self, codebook: Codebook) -> None:
        z = torch.randn(2, 3, 4, 5)
        pixels = z.permute(0, 2, 3, 1).reshape(-1, 3)
        expected = torch.cdist(pixels, codebook.embedding.weight).argmin(dim=1)
        quantized = codebook(z)
        assert torch.equal(quantized.indices.flatten(), expected)
        codes = F.embedding(quantized.indices, codebook.embedding.weight).permute(0, 3, 1, 2)
        torch.testing.assert_close(quantized.z, codes)

    def test_gradient_goes_straight_through(self, codebook: Codebook) -> None:
        z = torch.randn(1, 3, 4, 4, requires_grad=True)
        cotangent = torch.randn(1, 3, 4, 4)
        (codebook(z).z * cotangent).sum().backward()
        assert z.grad is not None
        assert torch.equal(z.grad, cotangent)
        assert codebook.embedding.weight.grad is None

    def test_parts_change_nothing(
        self, codebook: Codebook, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        z = torch.randn(1, 3, 5, 5)
        whole = codebook(z).indices
        monkeypatch.setattr(vq_module, "PIXELS_AT_ONCE", 4)
        assert torch.equal(codebook(z).indices, whole)


class TestErrors:
    def test_picture_size(self, network: VQAutoencoder) -> None:
        with pytest.raises(OptionError, match=r"picture is 16x18 .* multiples of 4"):
            network.encode(torch.zeros(1, 3, 16, 18))

    def test_picture_channels(self, network: VQAutoencoder) -> None:
        with pytest.raises(OptionError, match="picture has 4 channels; the autoencoder takes 3"):
            network.encode(torch.zeros(1, 4, 16, 16))

    def test_latent_channels(self, network: VQAutoencoder) -> None:
        with pytest.raises(OptionError, match="latent has 4 channels; the autoencoder takes 3"):
            network.decode(torch.zeros(1, 4, 4, 4))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"channels": 40}, "channels is 40; it must be a multiple of 32"),
            ({"n_embed": 0}, "n_embed is 0; it must be at least 1"),
            ({"channel_mult": (1, 0)}, r"channel_mult is \(1, 0\); it needs a factor"),
        ],
    )
    def test_settings(self, change: dict[str, object], message: str) -> None:
        with pytest.raises(OptionError, match=message):
            AutoencoderSettings(**change)
