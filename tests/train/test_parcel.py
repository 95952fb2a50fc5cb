"""A parcel runs on its own, comes home, goes on; and what does not fit or is hostile is refused."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch

from bimacosr.errors import ModelError, OptionError, TrainingError
from bimacosr.train import parcel as parcels
from bimacosr.train.checkpoint import newest_checkpoint
from bimacosr.train.parcel import make_parcel, unpack_parcel
from bimacosr.train.run import run_training
from tests.train.conftest import MakeRecipe


def unpacked(parcel: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-xf", parcel, "-C", folder], check=True)  # as its own words say
    return folder


def go(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "run.py", "--threads", "1", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_there_and_back_ends_at_the_same_weights(
    trained: Path, recipe: MakeRecipe, tmp_path: Path
) -> None:
    """Some steps at home, some away, the rest at home again."""
    settings = recipe(
        "binarize", teacher=str(trained / "teacher"), start=str(trained / "student"), pool=16
    )
    run_training(settings, tmp_path / "whole")
    home = tmp_path / "home"
    run_training(settings, home, max_minutes=0)
    make_parcel(settings, home, tmp_path / "parcel.tar")
    away = unpacked(tmp_path / "parcel.tar", tmp_path / "away")
    done = go(away, "--max-minutes", "0")
    assert done.returncode == 0, done.stderr
    assert unpack_parcel(away / "result.tar", home).name == "step_00000002.pt"
    run_training(settings, home, resume="auto")
    ends = [newest_checkpoint(tmp_path / name) for name in ("whole", "home")]
    one, other = (end[1] for end in ends if end is not None)
    assert one["step"] == other["step"] == 6
    for key, value in one["average"].items():
        torch.testing.assert_close(other["average"][key], value, rtol=1e-5, atol=1e-7)


def test_a_failure_away_comes_home_too(recipe: MakeRecipe, tmp_path: Path) -> None:
    make_parcel(recipe("teacher"), tmp_path / "run", tmp_path / "parcel.tar")
    away = unpacked(tmp_path / "parcel.tar", tmp_path / "away")
    (away / "recipe.yaml").write_text("stage: teacher\nbatch: 0\n")
    done = go(away)
    assert done.returncode == 1
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr
    assert (away / "result.tar").is_file()


def test_a_parcel_that_is_too_large_says_what_is(
    recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcels, "LIMIT_BYTES", 100_000)
    with pytest.raises(OptionError, match=r"would have .* MiB, the limit is .* \(src .*photos"):
        make_parcel(recipe("teacher"), tmp_path / "run", tmp_path / "parcel.tar")
    assert not (tmp_path / "parcel.tar").exists()


def archive_of(path: Path, *entries: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        for entry in entries:
            archive.addfile(entry, io.BytesIO(b"x" * entry.size))
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 1) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size if kind == tarfile.REGTYPE else 0
    info.linkname = "/etc/passwd"
    return info


@pytest.mark.parametrize(
    "hostile",
    [
        entry("run/../../outside"),
        entry("/run/checkpoints/step_00000001.pt"),
        entry("other/checkpoints/step_00000001.pt"),
        entry("run/checkpoints/step_00000001.pt", tarfile.SYMTYPE),
        entry("run/checkpoints/step_00000001.pt", tarfile.LNKTYPE),
        entry("run/pipe", tarfile.FIFOTYPE),
        entry("run\\checkpoints\\step_00000001.pt"),
    ],
    ids=lambda info: f"{info.name}-{info.type.decode()}",
)
def test_hostile_archives_write_nothing(tmp_path: Path, hostile: tarfile.TarInfo) -> None:
    archive = archive_of(tmp_path / "result.tar", entry("run/log.jsonl"), hostile)
    with pytest.raises(TrainingError, match="is refused"):
        unpack_parcel(archive, tmp_path / "home")
    assert not (tmp_path / "home").exists()
    assert not (tmp_path.parent / "outside").exists()


def test_an_archive_that_unpacks_to_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcels, "_UNPACKED_LIMIT", 10)
    archive = archive_of(tmp_path / "result.tar", entry("run/log.jsonl", size=11))
    with pytest.raises(TrainingError, match="more than 10 bytes"):
        unpack_parcel(archive, tmp_path / "home")


def test_an_archive_without_a_checkpoint(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "result.tar", entry("run/log.jsonl"))
    with pytest.raises(TrainingError, match="no checkpoint"):
        unpack_parcel(archive, tmp_path / "home")


def test_a_damaged_checkpoint_is_not_taken_home(recipe: MakeRecipe, tmp_path: Path) -> None:
    home = tmp_path / "home"
    run_training(recipe("teacher"), home)
    before = sorted((home / "checkpoints").iterdir())
    archive = archive_of(
        tmp_path / "result.tar", entry("run/checkpoints/step_99999999.pt", size=2000)
    )
    with pytest.raises(ModelError, match="damaged"):
        unpack_parcel(archive, home)
    assert sorted((home / "checkpoints").iterdir()) == before


def test_no_archive_at_all(tmp_path: Path) -> None:
    (tmp_path / "result.tar").write_bytes(b"not a tar file")
    with pytest.raises(TrainingError, match="cannot be read as a parcel"):
        unpack_parcel(tmp_path / "result.tar", tmp_path / "home")
