"""A packed student and a packed autoencoder, small, for the native backend of the paper family."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from bimacosr.networks.unet import UNetModelSwin
from bimacosr.pack.autoencoder import pack_autoencoder
from bimacosr.pack.format import write_packed
from bimacosr.pack.modules import pack_network
from tests import paper
from tests.golden import students
from tests.unit.engine.test_unet import SMALL, student


class LatentFiles(NamedTuple):
    student: Path
    checkpoint: Path
    autoencoder: Path
    autoencoder_checkpoint: Path


def margin_student() -> UNetModelSwin:
    """A student in the reference's state C, where no rounding flips a sign."""
    return deepcopy(student(SMALL)).float()


def write_files(folder: Path, step: int | None = 14) -> LatentFiles:
    """The packed files and their checkpoints."""
    network = margin_student()
    model = pack_network(
        network,
        name="student",
        family="swin",
        network=asdict(SMALL),
        binarize_settings=students.SETTINGS,
        diffusion={},
        license_name="CC0-1.0",
        step=step,
        autoencoder={"settings": asdict(paper.VQ), "release": None},
    )
    state = {key: value.numpy() for key, value in paper.autoencoder().state_dict().items()}
    first_stage = pack_autoencoder(state, paper.VQ, name="vq", license_name="CC0-1.0")
    files = LatentFiles(
        folder / "student.safetensors",
        paper.write(folder / "student.pth", network),
        folder / "vq.safetensors",
        paper.write(folder / "vq.pth", paper.autoencoder()),
    )
    write_packed(files.student, model)
    write_packed(files.autoencoder, first_stage)
    return files
