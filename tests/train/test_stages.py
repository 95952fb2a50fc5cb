"""The three stages, each from nothing on twenty pictures: losses fall, the result can be used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import bimacosr
from bimacosr.binarize.registry import METHODS
from bimacosr.config.train import TrainRecipe
from bimacosr.networks.timed_edge import TimedEdgeNet
from bimacosr.pack.format import write_packed
from bimacosr.train.build import build_stage
from bimacosr.train.distributed import World
from bimacosr.train.draws import StepDraws
from bimacosr.train.export import packed_student
from bimacosr.train.feed import Feed
from bimacosr.train.run import open_pairs, run_training
from bimacosr.train.stage import Stage
from bimacosr.train.student import StudentStage
from bimacosr.train.weights import open_weights
from tests.train.conftest import MakeRecipe

CPU = World(0, 1, torch.device("cpu"))


def loss_of(stage: Stage, recipe: TrainRecipe) -> float:
    """The loss over a fixed batch of sixteen."""
    batch = Feed(open_pairs(recipe, CPU, print), recipe, CPU).sample(16)
    draws = StepDraws(7, 0, batch.index.tolist())
    with torch.no_grad():
        return float(stage.loss(batch, draws, recipe.phases[0]).total)


@pytest.mark.parametrize(
    ("name", "share"),
    [("teacher", 0.99), ("student", 0.999), ("one-bit", 0.998)],  # each begins where one ended
)
def test_the_loss_of_every_stage_falls(
    trained: Path, tmp_path: Path, name: str, share: float
) -> None:
    weights = open_weights(str(trained / name))
    assert weights.recipe is not None
    stage = build_stage(weights.recipe, tmp_path / "run", CPU.device)
    before = loss_of(stage, weights.recipe)
    stage.network.load_state_dict(dict(weights.state))
    assert loss_of(stage, weights.recipe) < share * before


def test_the_log_tells_every_term(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "student/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [*range(3, 61, 3)]
    for line in lines:
        assert line["terms"]["loss"] == pytest.approx(line["terms"]["latent"] + line["terms"]["l1"])
        assert line["images_per_second"] > 0
        assert 0 <= line["waiting"] <= 1


def test_a_student_begins_as_its_teacher(trained: Path, recipe: MakeRecipe, tmp_path: Path) -> None:
    teacher = str(trained / "teacher")
    stage = build_stage(recipe("distill", teacher=teacher), tmp_path, CPU.device)
    expected = open_weights(teacher).state
    for key, value in stage.network.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_a_student_of_another_shape_begins_untrained_and_the_user_is_told(
    trained: Path, recipe: MakeRecipe, tmp_path: Path
) -> None:
    told: list[str] = []
    model = {"family": "edge", "edge": {"channels": 16, "blocks": 1}}
    small = recipe("distill", model=model, teacher=str(trained / "teacher"))
    build_stage(small, tmp_path, CPU.device, told.append)
    assert told == [
        "the student has another shape than its teacher, and no start: it begins untrained"
    ]


def test_the_one_step_network_is_the_timed_one_at_the_last_step() -> None:
    torch.manual_seed(0)
    timed = TimedEdgeNet(8, 2)
    for parameter in timed.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x, lq = torch.randn(2, 48, 6, 6), torch.randn(2, 3, 6, 6)
    plain = timed.at_step(2)
    t = torch.tensor([2, 2])
    torch.testing.assert_close(plain(x, t, lq), timed(x, t, lq))
    assert not torch.allclose(plain(x, t, lq), timed(x, t - 1, lq))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_is_trained_packed_and_loaded(
    trained: Path, recipe: MakeRecipe, tmp_path: Path, method: str
) -> None:
    settings = {"method": method, "rank": 2, "keep_float_conv": [{"keywords": ["first", "last"]}]}
    student = recipe(
        "binarize",
        binarize=settings,
        teacher=str(trained / "teacher"),
        start=str(trained / "student"),
    )
    outcome = run_training(student, tmp_path / "run")
    assert outcome.finished
    weights = open_weights(str(tmp_path / "run"))
    write_packed(
        tmp_path / "m.safetensors", packed_student(weights, name=method, license_name="CC0-1.0")
    )
    resolver = bimacosr.load(tmp_path / "m.safetensors", backend="torch")
    batch = Feed(open_pairs(student, CPU, print), student, CPU).sample(1)
    pixels = (batch.lq[0].permute(1, 2, 0) * 255).round().byte().numpy()
    result = np.asarray(resolver(Image.fromarray(pixels)), np.float32)
    assert result.shape == (48, 48, 3)


def test_the_packed_student_gives_what_the_trainer_sees(
    trained: Path, recipe: MakeRecipe, tmp_path: Path
) -> None:
    """Without noise, since the two draw it differently."""
    chain = {"steps": 3, "kappa": 0.0, "predict_type": "residual"}
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    run_training(recipe("teacher", diffusion=chain), teacher)
    run_training(
        recipe("binarize", diffusion=chain, teacher=str(teacher), start=str(teacher)), student
    )
    weights = open_weights(str(student))
    assert weights.recipe is not None
    stage = build_stage(weights.recipe, student, CPU.device)
    stage.network.load_state_dict(dict(weights.state))
    batch = Feed(open_pairs(weights.recipe, CPU, print), weights.recipe, CPU).sample(1)
    seen = stage.result(stage.network, batch, StepDraws(0, 0, [0]))
    file = tmp_path / "m.safetensors"
    write_packed(file, packed_student(weights, name="m", license_name="CC0-1.0"))
    pixels = (batch.lq[0].permute(1, 2, 0) * 255).round().byte().numpy()
    result = np.asarray(bimacosr.load(file, backend="torch")(Image.fromarray(pixels)), np.float32)
    difference = np.abs(result - seen[0].permute(1, 2, 0).numpy() * 255)
    assert difference.mean() < 1  # float16 in the file, 8 bits in the picture


def test_the_teacher_is_asked_once_for_each_sample(
    trained: Path, recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    settings: TrainRecipe = recipe("distill", teacher=str(trained / "teacher"), pool=8)
    stage = build_stage(settings, tmp_path / "run", CPU.device)
    assert isinstance(stage, StudentStage)
    assert stage.teacher is not None
    forward = stage.teacher.forward
    monkeypatch.setattr(stage.teacher, "forward", lambda *a: calls.append(1) or forward(*a))
    feed = Feed(open_pairs(settings, CPU, print), settings, CPU)
    found = []
    for batch in feed.batches(0, 4):  # the pool has two batches
        draws = StepDraws(settings.seed, 0, batch.index.tolist())
        found.append(float(stage.loss(batch, draws, settings.phases[0]).total.detach()))
    assert len(calls) == 2 * len(stage.space.process.schedule)
    assert found[:2] == found[2:]
