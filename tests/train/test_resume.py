"""A run that was stopped, killed or starved goes on to the weights of an unbroken one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from bimacosr.config.train import TrainRecipe
from bimacosr.errors import ModelError, OptionError, TrainingError, WriteError
from bimacosr.train import checkpoint as checkpoints
from bimacosr.train.checkpoint import list_checkpoints, newest_checkpoint, read_checkpoint
from bimacosr.train.recipe import recipe_text
from bimacosr.train.run import run_training
from tests.train.conftest import MakeRecipe

WEIGHTS = {"latent": 1, "l1": 1, "adversarial": 0.01}
PHASES = [
    {"name": "one", "steps": 4, "learning_rate": 2e-3, "warmup": 2},
    {"name": "two", "steps": 4, "learning_rate": 1e-3, "warmup": 2, "weights": WEIGHTS},
]


def final(run: Path) -> dict[str, Any]:
    newest = newest_checkpoint(run)
    assert newest is not None
    return newest[1]


def assert_same_end(first: Path, second: Path) -> None:
    one, other = final(first), final(second)
    assert one["step"] == other["step"]
    for part in ("network", "average", "helpers"):
        for key, value in one[part].items():
            pair = value, other[part][key]
            if key == "memory._extra_state":
                assert len(value) == len(pair[1])
                pair = torch.cat(value), torch.cat(pair[1])
            assert torch.equal(*pair), f"{part}: {key}"


def two_phases(recipe: MakeRecipe, **changes: Any) -> TrainRecipe:
    log = {"every": 1, "save_every": 3, "pictures_every": 0, "tensorboard": False, "keep": 2}
    optimiser = {"discriminator_memory": 2}
    settings = {"phases": PHASES, "log": log, "optimiser": optimiser}
    return recipe("teacher", **(settings | changes))


def test_a_run_stopped_after_every_step_ends_at_the_same_weights(
    recipe: MakeRecipe, tmp_path: Path
) -> None:
    settings = two_phases(recipe)
    run_training(settings, tmp_path / "whole")
    for step in range(1, 9):
        outcome = run_training(settings, tmp_path / "parts", resume="auto", max_minutes=0)
        assert (outcome.step, outcome.finished) == (step, step == 8)
    assert_same_end(tmp_path / "whole", tmp_path / "parts")
    assert final(tmp_path / "whole")["helpers"]["memory._extra_state"]
    logs = [
        [json.loads(line) for line in (tmp_path / run / "log.jsonl").read_text().splitlines()]
        for run in ("whole", "parts")
    ]
    assert [line["terms"] for line in logs[0]] == [line["terms"] for line in logs[1]]


def test_a_memory_given_later_leaves_the_discriminator_as_it_was(
    recipe: MakeRecipe, tmp_path: Path
) -> None:
    course = [PHASES[1] | {"steps": 2}]
    fast = two_phases(recipe, phases=course, optimiser={"discriminator_rate": 0.05})
    run_training(fast, tmp_path / "run")
    before = final(tmp_path / "run")["helpers"]
    run_training(
        two_phases(recipe, phases=[*course, PHASES[1] | {"steps": 1}]),
        tmp_path / "run",
        resume="auto",
    )
    after = final(tmp_path / "run")["helpers"]
    assert after["memory._extra_state"]
    moved = [(after[name] - before[name]).abs().max() for name in before if "layers.0" in name]
    assert moved
    assert max(moved) < 1e-3  # a fresh one would be some .1 away


def test_a_killed_run_ends_at_the_same_weights(recipe: MakeRecipe, tmp_path: Path) -> None:
    slow = two_phases(recipe, phases=[PHASES[0] | {"steps": 3000}])
    (tmp_path / "recipe.yaml").write_text(recipe_text(slow))
    command = [sys.executable, "-m", "bimacosr", "train", "teacher", "--recipe", "recipe.yaml"]
    command += ["-o", "killed", "--threads", "1"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while len(list_checkpoints(tmp_path / "killed")) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    reached = final(tmp_path / "killed")["step"]
    assert reached >= 6
    to = two_phases(recipe, phases=[PHASES[0] | {"steps": 3000}])
    unbroken = tmp_path / "unbroken"
    stopped_at(reached + 3, to, unbroken)
    stopped_at(reached + 3, to, tmp_path / "killed")
    assert_same_end(unbroken, tmp_path / "killed")


def stopped_at(step: int, recipe: TrainRecipe, run: Path) -> None:
    """Train up to `step`, a multiple of the steps between checkpoints."""
    while not list_checkpoints(run) or final(run)["step"] < step:
        run_training(recipe, run, resume="auto", max_minutes=0)


def test_old_checkpoints_are_pruned(recipe: MakeRecipe, tmp_path: Path) -> None:
    run_training(two_phases(recipe), tmp_path)
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "step_00000006.pt",
        "step_00000008.pt",
    ]


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    recipe: MakeRecipe, tmp_path: Path
) -> None:
    settings, told = two_phases(recipe), list[str]()
    run_training(settings, tmp_path)
    last = list_checkpoints(tmp_path)[-1]
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 0xFF
    last.write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        read_checkpoint(last)
    run_training(settings, tmp_path, resume="auto", notice=told.append)
    assert any("damaged" in text and "step_00000006.pt" in text for text in told)
    assert final(tmp_path)["step"] == 8


def test_where_every_checkpoint_is_damaged_it_says_so(recipe: MakeRecipe, tmp_path: Path) -> None:
    settings = two_phases(recipe)
    run_training(settings, tmp_path)
    for path in list_checkpoints(tmp_path):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"no checkpoint of .* can be used"):
        run_training(settings, tmp_path, resume="auto")


def test_a_finished_run_stays_as_it_is(recipe: MakeRecipe, tmp_path: Path) -> None:
    settings = two_phases(recipe)
    run_training(settings, tmp_path)
    before = list_checkpoints(tmp_path)[-1].read_bytes()
    assert run_training(settings, tmp_path, resume="auto").finished
    assert list_checkpoints(tmp_path)[-1].read_bytes() == before


def test_a_run_is_not_written_over(recipe: MakeRecipe, tmp_path: Path) -> None:
    run_training(two_phases(recipe), tmp_path)
    with pytest.raises(OptionError, match=r"holds a run already.*--resume auto"):
        run_training(two_phases(recipe), tmp_path)


def test_another_network_is_not_resumed(recipe: MakeRecipe, tmp_path: Path) -> None:
    run_training(two_phases(recipe), tmp_path)
    other = two_phases(recipe, model={"family": "edge", "edge": {"channels": 16, "blocks": 2}})
    with pytest.raises(TrainingError, match=r"its model is another \(edge.channels 8, not 16\)"):
        run_training(other, tmp_path, resume="auto")


def test_a_change_of_the_course_is_told(recipe: MakeRecipe, tmp_path: Path) -> None:
    told: list[str] = []
    run_training(two_phases(recipe), tmp_path, max_minutes=0)
    longer = recipe("teacher", phases=[PHASES[0] | {"steps": 5}])
    outcome = run_training(longer, tmp_path, resume="auto", notice=told.append)
    assert outcome.step == 5
    assert "phases" in told[0]


def test_a_full_disk_leaves_the_last_checkpoint(
    recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, save, written = two_phases(recipe), torch.save, []

    def fills(content: Any, file: Any) -> None:
        if written:
            file.write(b"some of it")
            raise OSError(28, os.strerror(28))
        written.append(save(content, file))

    monkeypatch.setattr(checkpoints.torch, "save", fills)
    with pytest.raises(WriteError, match=r"disk is full while writing .*step_00000006.pt"):
        run_training(settings, tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000003.pt"]
    monkeypatch.undo()
    assert run_training(settings, tmp_path, resume="auto").finished


def test_nan_stops_with_a_report_and_the_last_good_checkpoint(
    recipe: MakeRecipe, tmp_path: Path
) -> None:
    wild = two_phases(recipe, phases=[{"steps": 500, "learning_rate": 1e30, "warmup": 0}])
    with pytest.raises(TrainingError, match=r"no finite number at step .* lower the learning rate"):
        run_training(wild, tmp_path)
    (report,) = tmp_path.glob("failure_step_*.json")
    facts = json.loads(report.read_text())
    assert len(facts["samples"]) == len(facts["pictures"]) == 4
    assert all(name.endswith(".png") for name in facts["pictures"])
    assert facts["largest_gradient_norms"]
    if facts["last_good"] is not None:
        read_checkpoint(Path(facts["last_good"]))


def test_sigterm_saves_and_stops(recipe: MakeRecipe, tmp_path: Path) -> None:
    long = two_phases(recipe, phases=[PHASES[0] | {"steps": 100_000}])
    (tmp_path / "recipe.yaml").write_text(recipe_text(long))
    command = [sys.executable, "-m", "bimacosr", "train", "teacher", "--recipe", "recipe.yaml"]
    command += ["-o", "run", "--threads", "1"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not list_checkpoints(tmp_path / "run") and time.monotonic() < deadline:
            time.sleep(0.05)
        process.terminate()
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stopped at step" in output
    assert f"step {final(tmp_path / 'run')['step']} of" in output
