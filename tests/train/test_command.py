"""`bimacosr train` as a user runs it: what is wrong is said in one sentence, with status 1."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

import bimacosr
from bimacosr.cli import main
from bimacosr.train.logs import has_tensorboard
from bimacosr.train.recipe import recipe_text
from tests.train.conftest import MakeRecipe

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("teacher", ...)` in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Result:
        result = CliRunner().invoke(main, ["train", *map(str, arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def small(recipe: MakeRecipe, tmp_path: Path) -> Path:
    """A recipe file for stage "binarize"; the commands change its stage."""
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_text(recipe("binarize")))
    return path


def test_from_photos_to_a_packed_model(run: Run, small: Path, trained: Path) -> None:
    options = ("--recipe", small, "--set", "phases.0.steps=2", "--set", "log.pictures_every=2")
    students = ("--teacher", trained / "teacher", "--start", trained / "student")
    done = run("binarize", *options, *students, "--set", "log.tensorboard=true", "-o", "run")
    assert done.exit_code == 0, done.stderr
    assert "run: step 2 of 2, finished" in done.stdout
    assert Path("run/samples/step_00000002.png").is_file()
    if has_tensorboard():
        assert any(Path("run/tensorboard").iterdir())
    assert json.loads(Path("run/log.jsonl").read_text().splitlines()[-1])["step"] == 2
    exported = run("export", "run", "-o", "m.safetensors", "--fact", "note=tiny")
    assert exported.exit_code == 0, exported.stderr
    model = bimacosr.load("m.safetensors", backend="torch").model
    assert (model.name, model.extra["note"]) == ("m", "tiny")
    packed = CliRunner().invoke(main, ["pack", "run", "-o", "p.safetensors"])
    assert packed.exit_code == 0, packed.stderr
    other = bimacosr.load("p.safetensors", backend="torch").model
    assert all((other.tensors[key] == value).all() for key, value in model.tensors.items())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("teacher -o run", "name the recipe of the stage: --recipe FILE"),
        ("teacher --recipe none.yaml -o run", "none.yaml cannot be read: No such file"),
        ("teacher --recipe {small} --photos nowhere -o run", "nowhere does not exist"),
        ("distill --recipe {small} -o run", "names no teacher: give --teacher"),
        ("distill --recipe {small} --teacher nowhere -o run", "there is no checkpoint|cannot be"),
        ("distill --recipe {small} --teacher {runs}/student -o run", "is of stage 'distill'; the "),
        ("binarize --recipe {small} --teacher {runs}/teacher -o run", "give --start"),
        ("binarize --recipe {small} --method zip -o run --start a --teacher {runs}/teacher", "zip"),
        ("teacher --recipe {small} --set btach=2 -o run", "btach is no setting"),
        ("teacher --recipe {small} --device tpu -o run", "there is no device 'tpu'"),
        ("teacher --recipe {small} --resume missing.pt -o run", "no checkpoint missing.pt"),
        ("export {runs}/student -o m.safetensors", "is of stage 'distill'; only a student of"),
        ("export nowhere -o m.safetensors", "nowhere"),
        ("parcel unpack nowhere.tar -o run", "nowhere.tar cannot be read as a parcel"),
    ],
)
def test_one_sentence_for_what_is_wrong(
    run: Run, small: Path, trained: Path, arguments: str, sentence: str
) -> None:
    result = run(*arguments.format(small=small, runs=trained).split())
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert any(part in result.stderr for part in sentence.split("|")), result.stderr


def test_a_teacher_of_another_chain(run: Run, small: Path, trained: Path) -> None:
    result = run(
        *("distill", "--recipe", small, "--teacher", trained / "teacher"),
        *("--set", "diffusion.kappa=0.5", "-o", "run"),
    )
    assert "walks another chain: its diffusion.kappa is 0.1, the recipe's is 0.5" in result.stderr


def test_weights_of_another_shape(run: Run, small: Path, trained: Path) -> None:
    result = run(
        *("teacher", "--recipe", small, "--start", trained / "teacher"),
        *("--set", "model.edge.channels=16", "-o", "run"),
    )
    assert "does not fit the recipe: net.first.weight is (8, 51, 3, 3)" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(run: Run, small: Path, tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    result = run("teacher", "--recipe", small, "-o", "shut/run")
    assert result.exit_code == 1
    assert "shut" in result.stderr


def test_a_file_where_the_folder_should_be(run: Run, small: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    result = run("teacher", "--recipe", small, "-o", "run")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("error: ")


def test_a_checkpoint_that_would_run_code_is_refused(run: Run, small: Path, tmp_path: Path) -> None:
    torch.save({"format": "bimacosr-training", "code": os.system}, tmp_path / "evil.pt")
    result = run("teacher", "--recipe", small, "--start", "evil.pt", "-o", "run")
    assert result.exit_code == 1
    assert "evil.pt is refused" in result.stderr
