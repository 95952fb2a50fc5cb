"""A packed model by numpy alone: the layers that PyTorch makes of it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from bimacosr.errors import ModelError
from bimacosr.pack.format import PackedModel, write_packed
from bimacosr.pack.layers import OneBitLayer, packed_layers
from bimacosr.pack.modules import rebuild_network


def test_they_are_those_of_the_state_dict(packed: PackedModel, student: nn.Module) -> None:
    found, state = packed_layers(packed), rebuild_network(packed).state_dict()
    assert set(found.one_bit) == {"body.0.conv", "body.1.conv"}
    left_out = {key for key in state if key.endswith("move0.bias")}
    weights = {f"{name}.weight" for name in found.one_bit}
    assert set(found.arrays) == set(state) - weights - left_out
    for key, array in found.arrays.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, state[key].numpy(), err_msg=key)
    for name, layer in found.one_bit.items():
        assert layer.shape == (70, 70, 3, 3)
        np.testing.assert_array_equal(layer.weight(), state[f"{name}.weight"].numpy())
        signs = np.sign(student.get_submodule(name).weight.numpy())
        scale = layer.scale[:, None, None, None]
        np.testing.assert_array_equal(layer.weight(), signs * scale)


def test_no_torch_is_loaded(packed: PackedModel, tmp_path: Path) -> None:
    write_packed(tmp_path / "model", packed)
    program = (
        "import sys; from pathlib import Path\n"
        "from bimacosr.pack.format import read_packed\n"
        "from bimacosr.pack.layers import packed_layers\n"
        f"print(len(packed_layers(read_packed(Path({str(tmp_path / 'model')!r}))).arrays))\n"
        "sys.exit('torch' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == len(packed_layers(packed).arrays)


class TestWeight:
    """``weight()`` is a fixed point: the layer makes the stored signs and scales of it."""

    def test_two_terms(self) -> None:
        draws = np.random.default_rng(4)
        shape = (5, 70, 3, 3)
        layer = OneBitLayer(
            shape=shape,
            signs=draws.integers(0, 2**64, (5, 9, 2), np.uint64),
            scale=draws.random(5, np.float32) + 1,
            zeros=np.zeros(0, np.int64),
            second_signs=draws.integers(0, 2**64, (5, 9, 2), np.uint64),
            second_scale=draws.random(5, np.float32) / 3,
        )
        weight = layer.weight().reshape(5, -1)
        first = np.abs(weight).mean(1, keepdims=True)
        np.testing.assert_allclose(first[:, 0], layer.scale, rtol=1e-5)
        rest = weight - first * np.sign(weight)
        second = np.abs(rest).mean(1)
        np.testing.assert_allclose(second, layer.second_scale, rtol=1e-4)
        for value, words in ((weight, layer.signs), (rest, layer.second_signs)):
            one = OneBitLayer(
                shape=shape, signs=words, scale=np.ones(5, np.float32), zeros=layer.zeros
            )
            np.testing.assert_array_equal(np.sign(value), one.weight().reshape(5, -1))

    def test_zeros(self) -> None:
        layer = OneBitLayer(
            shape=(2, 3),
            signs=np.array([[[5]], [[7]]], np.uint64),
            scale=np.array([2, 3], np.float32),
            zeros=np.array([1, 3, 4, 5]),
        )
        assert layer.weight().tolist() == [[3, 0, 3], [0, 0, 0]]


class TestRefused:
    def test_a_file_that_does_not_list_its_layers(self, packed: PackedModel) -> None:
        with pytest.raises(ModelError, match="'small' does not list its 1-bit layers; pack it"):
            packed_layers(dataclasses.replace(packed, one_bit={}))

    @pytest.mark.parametrize(
        ("shape", "told"),
        [
            ([70, 70, 1, 1], r"body\.0\.conv\.signs is uint64"),
            ([70, 60, 3, 3], r"body\.0\.conv\.signs is uint64"),
            ([70, 69, 3, 3], r"body\.0\.conv\.signs has bits beyond channel 69"),
            ([71, 70, 3, 3], r"body\.0\.conv\.signs is uint64"),
        ],
    )
    def test_a_wrong_shape(self, packed: PackedModel, shape: list[int], told: str) -> None:
        one_bit = packed.one_bit | {"body.0.conv": shape}
        with pytest.raises(ModelError, match=f"'small' is damaged .*{told}"):
            packed_layers(dataclasses.replace(packed, one_bit=one_bit))

    def test_a_layer_that_is_not_listed(self, packed: PackedModel) -> None:
        one_bit = {"body.0.conv": packed.one_bit["body.0.conv"]}
        with pytest.raises(ModelError, match=r"'small' is damaged .*body\.1\.conv"):
            packed_layers(dataclasses.replace(packed, one_bit=one_bit))
