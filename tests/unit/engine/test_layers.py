"""Native layers against the torch ones, on every instruction set of this machine."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bimacosr.config.binarize import BinarizeSettings
from bimacosr.engine import instruction_sets
from bimacosr.engine.native import open_native
from tests.unit.engine.layers import native_layer, torch_layer

SHAPES = [
    (2, 2, 3, 1, 1),
    (3, 5, 3, 2, 7),
    (8, 16, 1, 9, 16),
    (51, 64, 3, 11, 19),
    (64, 64, 3, 33, 40),
    (70, 33, 3, 17, 65),
    (160, 96, 3, 16, 64),
    (193, 40, 1, 5, 31),
    (320, 64, 3, 8, 8),
    (480, 20, 3, 24, 32),
    (700, 48, 1, 12, 13),
    (700, 48, 1, 20, 32),
]
"""Channels in and out, kernel, height, width."""


def picture(channels: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(channels * height + width)
    x = rng.standard_normal((channels, height, width), np.float32)
    x[rng.random(x.shape) < 0.05] = 0  # exact zeros have no sign
    return x


def worst(result: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(result - expected).max() / np.sqrt(np.mean(expected**2)))


@pytest.mark.parametrize("isa", instruction_sets())
@pytest.mark.parametrize("of_zero", [0, 1])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_one_bit_convolution(isa: str, of_zero: int, shape: tuple[int, ...]) -> None:
    c_in, c_out, kernel, height, width = shape
    settings = BinarizeSettings(sign_of_zero=of_zero, rank=4)
    layer = torch_layer(c_in, c_out, kernel, 1, settings)
    native = native_layer(layer, isa, zero_is_positive=of_zero == 1)
    x = picture(c_in, height, width)
    expected = layer(torch.from_numpy(x)[None])[0].numpy()
    assert worst(native.run(x), expected) < 1e-5


@pytest.mark.parametrize("side", [8, 16, 64])
@pytest.mark.parametrize("inputs", [64, 320])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_layer_runs_on_what_was_forced_or_is_best_for_it(
    inputs: int, kernel: int, side: int
) -> None:
    layer = torch_layer(inputs, 32, kernel, 3, BinarizeSettings())
    chosen = {
        isa: native_layer(layer, isa, zero_is_positive=True, pixels=side**2).isa
        for isa in (*instruction_sets(), "auto")
    }
    automatic = chosen.pop("auto")
    assert chosen == {isa: isa for isa in instruction_sets()}
    tiles = kernel == 3 and inputs == 320 and side == 16  # what AMX is the best for
    vectors = [isa for isa in instruction_sets() if isa != "amx"]
    assert automatic == (instruction_sets() if tiles else vectors)[0]


@pytest.mark.parametrize("isa", instruction_sets())
def test_silu_before_the_signs_and_gelu_after_the_layer(isa: str) -> None:
    layer = torch_layer(64, 64, 3, 2, BinarizeSettings())
    native = native_layer(layer, isa, zero_is_positive=False)
    x = 3 * picture(64, 12, 20)
    expected = F.gelu(layer(F.silu(torch.from_numpy(x)[None])))[0]
    assert worst(native.run(x, silu=True, gelu=True), expected.numpy()) < 1e-5


@pytest.mark.parametrize("isa", instruction_sets())
def test_signs_of_exact_zeros(isa: str) -> None:
    """GELU underflows to exact zeros, below -5.5."""
    layer = torch_layer(64, 64, 3, 2, BinarizeSettings(low_rank=False, sparse=False))
    native = native_layer(layer, isa, zero_is_positive=False)
    x = F.gelu(torch.from_numpy(3 * picture(64, 12, 20)))
    assert float((x == 0).float().mean()) > 0.06
    assert worst(native.run(x.numpy()), layer(x[None])[0].numpy()) < 1e-5


@pytest.mark.parametrize("isa", instruction_sets())
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("zeros", ["everywhere", "nowhere", "in one pixel"])
@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_change_no_bit(isa: str, kernel: int, zeros: str, threads: int) -> None:
    """Pixels near an exact 0 are multiplied twice, whatever strip of a thread they are in."""
    layer = torch_layer(96, 80, kernel, 3, BinarizeSettings())
    native = native_layer(layer, isa, zero_is_positive=False)
    x = picture(96, 50, 61)
    if zeros != "everywhere":
        x[x == 0] = 1
    if zeros == "in one pixel":
        x[7, 30, 40] = 0
    assert np.array_equal(native.run(x), native.run(x, threads=threads))


@pytest.mark.parametrize("isa", instruction_sets())
@pytest.mark.parametrize(("c_in", "c_out"), [(51, 64), (64, 48), (3, 7)])
def test_a_float_convolution(isa: str, c_in: int, c_out: int) -> None:
    torch.manual_seed(4)
    weight, bias = torch.randn(c_out, c_in, 3, 3), torch.randn(c_out)
    x = picture(c_in, 13, 37)
    native = open_native().float_conv(isa, weight.numpy(), bias.numpy())
    expected = F.conv2d(
        torch.from_numpy(x)[None].double(), weight.double(), bias.double(), padding=1
    )
    assert worst(native.run(x), expected[0].numpy()) < 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": 63}, "bits beyond the last channel"),
        ({"inputs": 65}, "words"),
        ({"scale": np.ones(3, np.float32)}, "scale has 3 values"),
        ({"rprelu": np.ones((2, 8), np.float32)}, "rprelu"),
        ({"sparse_values": np.ones(2, np.float32)}, "indices and values"),
        ({"low_rank_in": np.ones((2, 64), np.float32)}, "two matrices"),
        ({"isa": "mmx"}, "mmx"),
        (
            {
                "sparse_indices": np.array([[8], [0]], np.int32),
                "sparse_values": np.ones(1, np.float32),
            },
            "outside",
        ),
    ],
    ids=str,
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    good = {
        "isa": "scalar",
        "signs": np.full((8, 9, 1), 1 << 63, np.uint64),
        "inputs": 64,
        "scale": np.ones(8, np.float32),
    }
    open_native().binary_layer(**good)
    with pytest.raises(ValueError, match=message):
        open_native().binary_layer(**(good | change))


def test_a_map_of_other_channels_is_refused() -> None:
    layer = open_native().float_conv("scalar", np.ones((1, 2, 3, 3), np.float32))
    with pytest.raises(ValueError, match="3 channels, the layer takes 2"):
        layer.run(np.ones((3, 4, 4), np.float32))
