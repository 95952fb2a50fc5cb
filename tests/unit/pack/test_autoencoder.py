"""The packed autoencoder: a checkpoint that needs no PyTorch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bimacosr.checkpoints.load import load_autoencoder
from bimacosr.config.networks import AutoencoderSettings, vq_f4
from bimacosr.errors import ModelError
from bimacosr.networks.vq import build_autoencoder
from bimacosr.pack.autoencoder import autoencoder_arrays, check_autoencoder, pack_autoencoder
from bimacosr.pack.format import PackedModel, is_packed, locate_arrays, read_packed, write_packed
from bimacosr.pack.verify import verify_packed
from tests import paper

ODD = AutoencoderSettings(
    channels=32, channel_mult=(1, 3, 3, 2), num_res_blocks=1, z_channels=5, embed_dim=4, n_embed=9
)


@pytest.fixture
def model() -> PackedModel:
    state = {key: value.numpy() for key, value in paper.autoencoder().state_dict().items()}
    return pack_autoencoder(state, paper.VQ, name="vq", license_name="CC0-1.0")


@pytest.fixture
def file(model: PackedModel, tmp_path: Path) -> Path:
    write_packed(tmp_path / "vq.safetensors", model)
    return tmp_path / "vq.safetensors"


@pytest.mark.parametrize("settings", [vq_f4(), paper.VQ, ODD], ids=["f4", "small", "odd"])
def test_its_arrays_are_those_of_the_network(settings: AutoencoderSettings) -> None:
    with torch.device("meta"):
        network = build_autoencoder(settings)
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert dict(autoencoder_arrays(settings)) == wanted


def test_it_is_a_checkpoint_of_the_same_numbers(file: Path) -> None:
    loaded = load_autoencoder(file).state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in paper.autoencoder().state_dict().items())


def test_it_is_read_and_found_sound(file: Path) -> None:
    assert is_packed(file)
    assert check_autoencoder(read_packed(file)) == paper.VQ
    facts = verify_packed(file)
    assert (facts.layers, facts.one_bit_weights, facts.size) == (0, 0, file.stat().st_size)
    assert sum(facts.parts.values()) == facts.size


def test_places_are_where_the_arrays_lie(file: Path) -> None:
    content = file.read_bytes()
    model = read_packed(file)
    for name, (start, shape) in locate_arrays(file).items():
        array = np.frombuffer(content, "<f4", int(np.prod(shape)), start).reshape(shape)
        assert np.array_equal(array, model.tensors[name])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\xff" * 20, b"\x02" + bytes(7) + b"[]"])
def test_what_is_no_packed_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    assert not is_packed(tmp_path / "file")
    assert not is_packed(tmp_path / "none")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"network": {"channels": 32}}, "in_channels is missing"),
        ({"network": {"n_embed": 1 << 30}}, "n_embed is 1073741824; a packed model has at most"),
        ({"network": {"level_res_blocks": [1, 1, 2]}}, "level_res_blocks is set"),
        (
            {"network": {"num_res_blocks": 2}},
            r"encoder\.down\.0\.block\.1\.norm1\.weight is missing",
        ),
        ({"tensors": {"quant_conv.bias": np.zeros(3, np.float16)}}, "quant_conv.bias is float16"),
        ({"tensors": {"quant_conv.bias": np.full(3, np.nan, np.float32)}}, "holds NaN or infinity"),
        ({"tensors": {"more": np.zeros(1, np.float32)}}, "the network has no more"),
    ],
    ids=str,
)
def test_what_is_damaged(model: PackedModel, changes: dict[str, Any], told: str) -> None:
    whole = {"network": model.network, "tensors": model.tensors}
    lone = "network" in changes and list(changes["network"]) == ["channels"]
    broken = replace(model, **{k: v if lone else whole[k] | v for k, v in changes.items()})
    with pytest.raises(ModelError, match=f"the autoencoder 'vq' is damaged.*{told}"):
        check_autoencoder(broken)
