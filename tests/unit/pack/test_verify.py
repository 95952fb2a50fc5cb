"""`verify_packed`: the facts of a sound file, and the parts that only it looks at."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from bimacosr.config.networks import vq_f4
from bimacosr.errors import ModelError
from bimacosr.models.catalogue import MODELS
from bimacosr.pack.format import PackedModel, read_packed, write_packed
from bimacosr.pack.verify import bytes_by_kind, verify_packed

VQ = {"release": "autoencoder_vq_f4", "settings": dataclasses.asdict(vq_f4())}


def verified(model: PackedModel, folder: Path) -> Any:
    write_packed(folder / "model.safetensors", model)
    return verify_packed(folder / "model.safetensors")


def test_facts(packed: PackedModel, tmp_path: Path) -> None:
    facts = verified(dataclasses.replace(packed, autoencoder=VQ), tmp_path)
    assert facts.model.name == "small"
    assert facts.model.autoencoder["release"] == "autoencoder_vq_f4"
    assert facts.size == (tmp_path / "model.safetensors").stat().st_size
    assert sum(facts.parts.values()) == facts.size
    assert (facts.layers, facts.one_bit_weights) == (2, 2 * 70 * 70 * 9)
    assert facts.parts["signs"] == 2 * 70 * 9 * 2 * 8
    assert facts.parts["scales"] == 2 * 70 * 2
    assert facts.parts["low rank"] == 2 * 2 * 3 * 70 * 2
    assert facts.parts["sparse"] == 2 * 140 * (4 + 2)
    assert facts.parts["time step"] == 0


@pytest.mark.parametrize("name", MODELS)
def test_the_shipped_models_are_sound(name: str) -> None:
    facts = verify_packed(MODELS[name].path)
    assert facts.model.step is None
    assert facts.one_bit_weights > 100_000
    assert facts.layers == facts.model.network["blocks"]


def test_a_file_from_before_layers_were_listed_is_sound(tmp_path: Path) -> None:
    """Their number then follows from the settings."""
    new, old = MODELS["edge-x4"].path, tmp_path / "old.safetensors"
    with safe_open(new, "np") as file:
        header = json.loads(file.metadata()["bimacosr"])
    for member in ("one_bit", "step"):
        del header[member]
    save_file(load_file(new), old, {"bimacosr": json.dumps(header)})
    assert verify_packed(old).layers == verify_packed(new).layers == header["network"]["blocks"]


def test_every_array_is_of_one_kind(packed: PackedModel) -> None:
    assert sum(bytes_by_kind(packed).values()) == sum(a.nbytes for a in packed.tensors.values())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"diffusion": {"kappa": -1}}, "kappa is -1"),
        ({"diffusion": {"eta": 1}}, "DiffusionSettings has no eta"),
        ({"autoencoder": {"release": 3}}, "release is no name"),
        ({"autoencoder": {"release": None}}, "the autoencoder has no settings"),
        ({"autoencoder": {"settings": {"channels": 128}}}, "in_channels is missing"),
    ],
)
def test_settings_of_the_run(
    packed: PackedModel, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(ModelError, match=f"'small' is damaged: its settings cannot .*{told}"):
        verified(dataclasses.replace(packed, **change), tmp_path)


def test_arrays_are_looked_at(packed: PackedModel, tmp_path: Path) -> None:
    tensors = packed.tensors | {"last.bias": np.full(12, np.inf, np.float16)}
    with pytest.raises(ModelError, match=r"last\.bias holds NaN or infinity"):
        verified(dataclasses.replace(packed, tensors=tensors), tmp_path)


def test_arrays_of_a_file_cannot_be_written(packed: PackedModel, tmp_path: Path) -> None:
    verified(packed, tmp_path)
    arrays = read_packed(tmp_path / "model.safetensors").tensors
    for name, array in arrays.items():
        assert not array.flags.writeable, name
        assert not array.flags.owndata, name
        assert array.flags.aligned, name
