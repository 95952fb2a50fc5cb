"""The PyTorch backend: one step, noise by place, tiles that see enough, and bad settings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bimacosr.binarize.convert import binarize
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.upscale import UpscaleSettings
from bimacosr.errors import BackendError, ModelError
from bimacosr.io.picture import Picture
from bimacosr.networks.edge import EdgeNet
from bimacosr.pack.format import PackedModel
from bimacosr.pack.modules import pack_network, rebuild_network
from bimacosr.reference import TorchBackend
from bimacosr.upscale import enlarge

SETTINGS = BinarizeSettings(
    sign_of_zero=1,
    sign_gradient="bireal_relative",
    keep_float_conv=(KeepFloatRule(keywords=("first", "last")),),
)


def model(kappa: float = 0.0) -> PackedModel:
    """A small network that does something, from a fixed seed."""
    torch.manual_seed(3)
    net = EdgeNet(16, 2)
    torch.nn.init.normal_(net.last.weight, std=0.02)
    return pack_network(
        binarize(net, SETTINGS),
        name="small",
        family="edge",
        network={"channels": 16, "blocks": 2, "scale": 4},
        binarize_settings=SETTINGS,
        diffusion={"kappa": kappa, "predict_type": "residual"},
        license_name="CC0-1.0",
    )


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).random((height, width, 3), np.float32)


def test_without_noise_a_tile_is_bicubic_less_the_networks_residual() -> None:
    packed, lq = model(), photo(9, 11)
    found = TorchBackend(packed).restore(lq, row=5, column=7, seed=1)
    x = torch.from_numpy(lq).permute(2, 0, 1)[None] * 2 - 1
    z_y = F.pixel_unshuffle(F.interpolate(x, scale_factor=4, mode="bicubic"), 4)
    residual = rebuild_network(packed)(z_y, torch.tensor([14]), x)
    assert residual.abs().max() > 0.01
    wanted = F.pixel_shuffle(z_y - residual, 4)[0].permute(1, 2, 0) / 2 + 0.5
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)


def test_noise_is_of_the_place_and_the_seed() -> None:
    backend, lq = TorchBackend(model(kappa=0.3)), photo(30, 30)
    whole = backend.restore(lq, row=0, column=0, seed=4)
    assert np.array_equal(whole, backend.restore(lq, row=0, column=0, seed=4))
    assert not np.allclose(whole, backend.restore(lq, row=0, column=0, seed=5), atol=1e-3)
    assert not np.allclose(whole, backend.restore(lq, row=1, column=0, seed=4), atol=1e-3)
    part = backend.restore(lq[8:, 8:], row=8, column=8, seed=4)
    m = backend.tiling.margin
    inside = part[4 * m : -4 * m or None, 4 * m : -4 * m or None]
    np.testing.assert_allclose(inside, whole[32 + 4 * m : -4 * m, 32 + 4 * m : -4 * m], atol=1e-4)


@pytest.mark.parametrize("kappa", [0.0, 0.3])
def test_tiles_agree_with_the_whole_picture(kappa: float) -> None:
    backend = TorchBackend(model(kappa))
    picture = Picture((photo(60, 70) * 255).astype(np.uint8))
    tiled, whole = (
        enlarge(picture, backend, UpscaleSettings(tile=tile, threads=2)).pixels.astype(int)
        for tile in (16, 128)
    )
    # a sign may flip where an activation lies within rounding of 0, so not every bit is equal
    assert 10 * np.log10(255**2 / max(1e-9, np.square(tiled - whole).mean())) > 45


@pytest.mark.parametrize(
    "wrong",
    [
        {"kappa": "2"},
        {"kappa": None},
        {"kappa": float("nan")},
        {"kappa": -0.1},
        {"steps": 10**9},
        {"predict_type": "guess"},
        {"colour": 1},
    ],
)
def test_wrong_diffusion_settings_are_a_damaged_model(wrong: dict[str, object]) -> None:
    packed = model()
    with pytest.raises(ModelError, match="'small' is damaged: its diffusion settings are wrong"):
        TorchBackend(replace(packed, diffusion=packed.diffusion | wrong))


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(BackendError, match="cannot use the device 'toaster'"):
        TorchBackend(model(), "toaster")
