"""A packed student of the paper family through PyTorch, beside its checkpoint."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

import bimacosr
from bimacosr.config.binarize import BinarizeSettings
from bimacosr.errors import ModelError
from bimacosr.pack.format import read_packed, write_packed
from bimacosr.pack.modules import pack_network
from bimacosr.reference import packed
from tests import paper


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """The packed student, its checkpoint, and the autoencoder, which stands for the released."""
    model = pack_network(
        paper.student("bimacosr"),
        name="student",
        family="swin",
        network=asdict(paper.UNET),
        binarize_settings=BinarizeSettings(rank=4, keep_float_conv=(paper.RULE,)),
        diffusion={},
        license_name="CC0-1.0",
        step=14,
        autoencoder={"settings": asdict(paper.VQ), "release": "vq"},
    )
    write_packed(tmp_path / "student.safetensors", model)
    checkpoint = paper.write(tmp_path / "student.pth", paper.student("bimacosr"))
    first_stage = paper.write(tmp_path / "vq.pth", paper.autoencoder())
    monkeypatch.setattr(packed, "find_release", lambda name: {"vq": first_stage}[name])
    return tmp_path / "student.safetensors", checkpoint, first_stage


def test_it_gives_the_picture_of_its_checkpoint(files: tuple[Path, Path, Path]) -> None:
    file, checkpoint, first_stage = files
    picture = np.random.default_rng(1).random((16, 32, 3)).astype(np.float32)
    options = {"backend": "torch", "notice": lambda _: None, "seed": 3}
    small = bimacosr.load(file, **options)
    whole = bimacosr.load(weights=checkpoint, autoencoder=first_stage, **options)
    a, b = small(picture), whole(picture)
    assert a.shape == (64, 128, 3)
    # half precision beside the signs, where a sign on the edge may turn
    assert np.abs(a - b).mean() < 0.25 * b.std()


def test_a_damaged_header_is_one_sentence(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    model = read_packed(files[0])
    broken = replace(model, autoencoder={"settings": {"channels": "many"}})
    write_packed(tmp_path / "broken.safetensors", broken)
    with pytest.raises(ModelError, match="'student' is damaged"):
        bimacosr.load(tmp_path / "broken.safetensors")
