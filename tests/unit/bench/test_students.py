"""The student whose speed is measured is a real one, for PyTorch and for the engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import save_file

from bimacosr.bench.students import student_file
from bimacosr.bench.task import Task, task_from_dict, unet_settings
from bimacosr.checkpoints.load import load_unet
from bimacosr.errors import ModelError
from tests.unit.bench.small import SMALL, float_unet, save_student


def test_a_checkpoint_becomes_a_file_that_loads_again(tmp_path: Path) -> None:
    checkpoint = save_student(tmp_path / "given.safetensors")
    student = student_file(str(checkpoint), tmp_path)
    loaded = load_unet(student.weights)
    assert loaded.binarize is not None
    assert loaded.settings == SMALL
    task = Task(
        benchmark="unet",
        model=str(checkpoint),
        height=16,
        width=16,
        threads=1,
        isa="scalar",
        network=student.network,
    )
    assert unet_settings(task_from_dict(task.as_dict())) == SMALL


def test_a_float_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "float.safetensors"
    save_file(float_unet().state_dict(), path)
    with pytest.raises(ModelError, match="is a float network; give a 1-bit student"):
        student_file(str(path), tmp_path)
