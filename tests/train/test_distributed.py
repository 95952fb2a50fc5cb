"""Two processes with gloo train as one does with the same global batch, and with parts of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from bimacosr.errors import BackendError, OptionError
from bimacosr.train.checkpoint import newest_checkpoint
from bimacosr.train.distributed import World, open_world
from bimacosr.train.recipe import recipe_text
from bimacosr.train.run import run_training
from tests.train.conftest import MakeRecipe

LOG = {"every": 1, "save_every": 4, "pictures_every": 0, "tensorboard": False}


def curve(run: Path) -> list[float]:
    lines = (run / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["terms"]["loss"] for line in lines]


def torchrun(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Two processes; gloo finds no other network interface than the machine's own."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--standalone", "-m", "bimacosr", "train", *arguments, "--threads", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180
    )


def test_two_processes_train_as_one(recipe: MakeRecipe, tmp_path: Path) -> None:
    weights = {"latent": 1, "l1": 1, "phase": 1, "flat": 1}
    phases = [{"steps": 8, "learning_rate": 2e-3, "warmup": 2, "weights": weights}]
    settings = recipe("teacher", phases=phases, log=LOG)
    run_training(settings, tmp_path / "one")
    (tmp_path / "recipe.yaml").write_text(recipe_text(settings))
    done = torchrun(tmp_path, "teacher", "--recipe", "recipe.yaml", "-o", "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished") == 1  # process 0 alone talks
    assert curve(tmp_path / "two") == pytest.approx(curve(tmp_path / "one"), rel=1e-5)
    one, two = (newest_checkpoint(tmp_path / name) for name in ("one", "two"))
    assert one is not None
    assert two is not None
    for key, value in one[1]["network"].items():
        torch.testing.assert_close(two[1]["network"][key], value, rtol=1e-3, atol=1e-5)


def test_a_student_in_two_processes(trained: Path, recipe: MakeRecipe, tmp_path: Path) -> None:
    """Branches without effect have no gradient, which DDP must bear."""
    student = recipe(
        "binarize",
        teacher=str(trained / "teacher"),
        start=str(trained / "student"),
        phases=[{"steps": 4, "trains": trains} for trains in ("binary", "branches")],
        log=LOG,
    )
    (tmp_path / "recipe.yaml").write_text(recipe_text(student))
    done = torchrun(tmp_path, "binarize", "--recipe", "recipe.yaml", "-o", "two")
    assert done.returncode == 0, done.stderr
    run_training(student, tmp_path / "one")
    assert curve(tmp_path / "two") == pytest.approx(curve(tmp_path / "one"), rel=1e-4)


def test_a_batch_in_parts_has_the_same_curve(recipe: MakeRecipe, tmp_path: Path) -> None:
    for parts in (1, 3):  # of 4 samples, so that parts are unequal
        run_training(recipe("teacher", accumulate=parts, log=LOG), tmp_path / str(parts))
    assert curve(tmp_path / "3") == pytest.approx(curve(tmp_path / "1"), rel=1e-5)


def test_a_batch_that_cannot_be_shared_is_refused(
    recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = nullcontext(World(0, 2, torch.device("cpu")))
    monkeypatch.setattr("bimacosr.train.run.open_world", lambda device: two)
    with pytest.raises(OptionError, match="a batch of 3 cannot be shared by 2 processes"):
        run_training(recipe("teacher", batch=3), tmp_path)


@pytest.mark.parametrize("device", ["cuda", "nonsense"])
def test_a_device_that_is_not_there(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match=device), open_world(device):
        pass
