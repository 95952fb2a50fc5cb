"""The native autoencoder against the official outputs and the torch one, on every instruction set.

The full-size network runs on the best instruction set only, and on AVX2.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from bimacosr.config.networks import AutoencoderSettings
from bimacosr.engine import instruction_sets
from bimacosr.engine.vq import NativeAutoencoder
from bimacosr.errors import BackendError, OptionError
from bimacosr.networks.vq import VQAutoencoder, build_autoencoder
from tests.golden import reference as ref

FULL = [isa for isa in instruction_sets() if isa in (instruction_sets()[0], "avx2")]
CASES = [("vq_tiny", isa) for isa in instruction_sets()] + [("vq_full", isa) for isa in FULL]

SMALL = AutoencoderSettings(
    channels=32, channel_mult=(1, 3), num_res_blocks=1, z_channels=5, embed_dim=4, n_embed=50
)


@cache
def official(name: str) -> tuple[AutoencoderSettings, VQAutoencoder]:
    settings = ref.autoencoder_settings(ref.meta(name)["config"])
    vq = build_autoencoder(settings)
    ref.fill(vq.requires_grad_(False), seed=3)
    return settings, vq.eval()


@cache
def small() -> VQAutoencoder:
    torch.manual_seed(0)
    vq = build_autoencoder(SMALL).requires_grad_(False).eval()
    for parameter in vq.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    return vq


def state_of(vq: VQAutoencoder) -> dict[str, Any]:
    return {key: value.numpy() for key, value in vq.state_dict().items()}


def deviation(ours: np.ndarray, golden: torch.Tensor) -> float:
    return ref.deviation(torch.from_numpy(ours), golden)


@pytest.mark.parametrize(("name", "isa"), CASES)
def test_the_official_outputs(name: str, isa: str) -> None:
    settings, vq = official(name)
    native = NativeAutoencoder(settings, state_of(vq), isa)
    for run in ("sq", "rect"):
        of_run = ref.meta(name)["runs"][run]
        shape = (of_run["B"], 3, of_run["H"], of_run["W"])
        picture = ref.uniform(f"{name}/{run}/x", shape, torch.float32).numpy()
        stored = {k.split("/")[1]: v for k, v in ref.tensors(name).items() if k.startswith(run)}
        z = native.encode(picture)
        assert deviation(z, stored["latent"]) < ref.F32_NETWORK
        quantized = native.quantize(z)
        assert np.array_equal(quantized.indices.ravel(), stored["indices"].numpy())
        assert deviation(quantized.z, stored["zq"]) < ref.F32_NETWORK
        plain = native.decode(z, quantize=False)
        assert deviation(plain, stored["decode_not_quantized"]) < ref.F32_NETWORK
        assert deviation(native.decode(z), stored["decode_quantized"]) < ref.F32_NETWORK


@pytest.mark.parametrize("isa", instruction_sets())
@pytest.mark.parametrize("size", [(2, 4), (6, 10), (10, 70), (34, 22)], ids=str)
def test_odd_sizes_and_channels(isa: str, size: tuple[int, int]) -> None:
    native = NativeAutoencoder(SMALL, state_of(small()), isa)
    picture = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    z = small().encode(picture)
    assert deviation(native.encode(picture.numpy()), z) < 5e-5
    wanted = small().decode(z, quantize=False)
    assert deviation(native.decode(z.numpy(), quantize=False), wanted) < 5e-5


@pytest.mark.parametrize("isa", instruction_sets())
def test_of_equally_near_codes_the_first_wins(isa: str) -> None:
    ties = ref.meta("vq_tiny")["ties"]["torch.float32"]
    settings, vq = official("vq_tiny")
    codes = dict(ties["codebook"])
    rest = np.asarray(codes.pop("rest"), np.float32)
    book = np.broadcast_to(rest, (settings.n_embed, 3)).copy()
    for row, code in codes.items():
        book[int(row)] = code
    state = state_of(vq) | {"quantize.embedding.weight": book}
    z = np.asarray(ties["z"], np.float32).T.reshape(1, 3, 1, -1)
    native = NativeAutoencoder(settings, state, isa)
    assert native.quantize(z).indices.ravel().tolist() == ties["index"]


@pytest.mark.parametrize("isa", instruction_sets())
def test_threads_change_no_bit(isa: str) -> None:
    picture = np.random.default_rng(2).random((1, 3, 76, 140), np.float32) * 2 - 1
    one, three = (NativeAutoencoder(SMALL, state_of(small()), isa, n) for n in (1, 3))
    z = one.encode(picture)
    assert np.array_equal(three.encode(picture), z)
    assert np.array_equal(three.decode(z), one.decode(z))


needs_bfloat16 = pytest.mark.skipif(
    "amx" not in instruction_sets(), reason="no AMX on this machine"
)


@needs_bfloat16
@pytest.mark.parametrize("size", [(2, 4), (6, 10), (10, 70), (34, 22), (76, 140)], ids=str)
def test_bfloat16_is_as_near_as_that_of_pytorch(size: tuple[int, int]) -> None:
    check_bfloat16(SMALL, small(), size)


@needs_bfloat16
def test_bfloat16_of_the_full_size() -> None:
    check_bfloat16(*official("vq_full"), (64, 64))


def check_bfloat16(settings: AutoencoderSettings, vq: VQAutoencoder, size: tuple[int, int]) -> None:
    """Rounded, and hardly further from float32 than PyTorch's autocast is."""
    native = NativeAutoencoder(settings, state_of(vq), "amx", precision="bf16")
    picture = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    z = vq.encode(picture)
    wanted = vq.decode(z, quantize=False)
    with torch.autocast("cpu", torch.bfloat16):
        rounded_z, rounded = vq.encode(picture), vq.decode(z, quantize=False)
    for ours, theirs, exact in (
        (native.encode(picture.numpy()), rounded_z, z),
        (native.decode(z.numpy(), quantize=False), rounded, wanted),
    ):
        far = (theirs.float() - exact).pow(2).mean().sqrt()
        assert 1e-4 < (torch.from_numpy(ours) - exact).pow(2).mean().sqrt() < 1.5 * far


@needs_bfloat16
def test_threads_change_no_bit_of_bfloat16() -> None:
    picture = np.random.default_rng(2).random((1, 3, 76, 140), np.float32) * 2 - 1
    one, three = (
        NativeAutoencoder(SMALL, state_of(small()), "amx", n, precision="bf16") for n in (1, 3)
    )
    z = one.encode(picture)
    assert np.array_equal(three.encode(picture), z)
    assert np.array_equal(three.decode(z), one.decode(z))


def test_bfloat16_is_refused_where_it_is_not() -> None:
    with pytest.raises(BackendError, match="bfloat16 with AMX only, and runs on scalar"):
        NativeAutoencoder(SMALL, state_of(small()), "scalar", precision="bf16")


def test_a_large_mean_does_not_spoil_the_norm() -> None:
    """Group norm of a map whose mean is far above its spread."""
    state = state_of(small())
    state["encoder.conv_in.bias"] = state["encoder.conv_in.bias"] + np.float32(300)
    vq = build_autoencoder(SMALL).double().requires_grad_(False).eval()
    vq.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    picture = np.random.default_rng(3).random((1, 3, 64, 64), np.float32) * 2 - 1
    wanted = vq.encode(torch.from_numpy(picture).double())
    assert deviation(NativeAutoencoder(SMALL, state).encode(picture), wanted) < 2e-3


def test_arrays_that_do_not_fit_are_refused() -> None:
    state = state_of(small())
    without = {key: value for key, value in state.items() if key != "decoder.norm_out.bias"}
    with pytest.raises(ValueError, match=r"lacks decoder\.norm_out\.bias"):
        NativeAutoencoder(SMALL, without)
    with pytest.raises(ValueError, match="no use for more"):
        NativeAutoencoder(SMALL, state | {"more": np.zeros(1, np.float32)})
    with pytest.raises(ValueError, match=r"quant_conv\.bias is 3; the settings say 4"):
        NativeAutoencoder(SMALL, state | {"quant_conv.bias": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match="threads must be from 1 to 1024"):
        NativeAutoencoder(SMALL, state, threads=0)


def test_maps_that_do_not_fit_are_refused() -> None:
    native = NativeAutoencoder(SMALL, state_of(small()))
    with pytest.raises(OptionError, match="31x32"):
        native.encode(np.zeros((1, 3, 31, 32), np.float32))
    with pytest.raises(OptionError, match=r"\(1, 1, 32, 32\)"):
        native.encode(np.zeros((1, 1, 32, 32), np.float32))
    with pytest.raises(OptionError, match=r"takes \(B, 4, h, w\)"):
        native.decode(np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(ValueError, match="empty or too large"):
        native.encode(np.zeros((1, 3, 0, 32), np.float32))
