"""Recipes: read strictly, changed from the command line, stored whole, made of official files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bimacosr.config.data import low_quality
from bimacosr.config.train import TrainRecipe
from bimacosr.errors import OptionError
from bimacosr.train.official_recipe import read_official_recipe
from bimacosr.train.recipe import plain_recipe, read_recipe, recipe_from, recipe_text
from bimacosr.train.schedule import learning_rate, phase_at
from tests.train.conftest import MakeRecipe

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "training/recipes").glob("*.yaml"))
OFFICIAL = ROOT.parent / "shared/reference/configs_used.json"


def written(folder: Path, **changes: Any) -> Path:
    """A recipe file."""
    tree = {"stage": "teacher", "data": {"sources": ["photos"]}} | changes
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_we_ship_is_sound(path: Path) -> None:
    recipe = read_recipe(path)
    assert path.stem.endswith(recipe.stage)


def test_there_are_recipes_for_every_stage_and_family() -> None:
    kinds = {(r.stage, r.model.family) for r in map(read_recipe, RECIPES)}
    stages = ("teacher", "distill", "binarize")
    assert kinds == {(stage, family) for stage in stages for family in ("edge", "paper")}


def test_a_recipe_survives_being_stored(recipe: MakeRecipe) -> None:
    full = recipe("binarize", start="runs/a", optimiser={"betas": [0.5, 0.9]})
    assert recipe_from(plain_recipe(full)) == full
    assert recipe_from(yaml.safe_load(recipe_text(full))) == full


def test_the_command_line_has_the_last_word(tmp_path: Path) -> None:
    path = written(tmp_path, phases=[{"steps": 5}, {"steps": 6}], batch=4)
    changes = ["phases.1.steps=7", "phases.0.learning_rate=1e-5", "data.low_quality=mild"]
    recipe = read_recipe(path, changes, {"batch": 2, "start": None, "data.sources": ["a", "b"]})
    assert [phase.steps for phase in recipe.phases] == [5, 7]
    assert recipe.phases[0].learning_rate == 1e-5
    assert recipe.batch == 2
    assert recipe.data.sources == (Path("a"), Path("b"))
    assert recipe.data.low_quality == low_quality("mild")


def test_the_data_have_the_seed_of_the_recipe(tmp_path: Path) -> None:
    assert read_recipe(written(tmp_path, seed=3)).data.seed == 3
    own = written(tmp_path, seed=3, data={"sources": ["a"], "seed": 4})
    assert read_recipe(own).data.seed == 4


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"btach": 3}, "btach is no setting; there are .*batch"),
        ({"stage": "prune"}, "stage is 'prune'; it must be one of teacher, distill, binarize"),
        ({"batch": 0}, "batch is 0; it must be at least 1"),
        ({"batch": "many"}, "batch is 'many'; it must be a whole number"),
        ({"phases": []}, "phases is empty"),
        ({"phases": [{"learning_rate": -1}]}, "learning_rate is -1.0; it must be above 0"),
        ({"phases": [{"weights": {"latent": 0}}]}, "LossWeights are all 0"),
        ({"phases": [{"weights": {"l1": "nan"}}]}, "phases.0.weights.l1 is 'nan'; .* finite"),
        ({"model": {"family": "cloud"}}, "model.family is 'cloud'"),
        ({"pool": 5}, "pool is 5; it must be a multiple of the batch"),
        ({"precision": "fp8"}, "precision is 'fp8'; it must be one of fp32, bf16"),
        ({"data": {}}, "data lacks a setting .*sources"),
        ({"data": {"sources": "photos"}}, "data.sources is 'photos'; it must be a list"),
        ({"model": {"edge": {"scale": 2}}}, "4 times smaller; the network enlarges 2 times"),
        ({"optimiser": {"betas": [0.9, 1.0]}}, r"betas is \(0.9, 1.0\)"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OptionError, match=rf"recipe\.yaml cannot be used: .*{sentence}"):
        read_recipe(written(tmp_path, **changes))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("batch", "no setting; write it as name=value"),
        ("phases.3.steps=1", "leads nowhere"),
        ("batch=[", "no plain YAML"),
    ],
)
def test_a_change_that_is_none(tmp_path: Path, override: str, sentence: str) -> None:
    path = written(tmp_path, phases=[{"steps": 1}])
    with pytest.raises(OptionError, match=sentence):
        read_recipe(path, [override])


def test_the_rate_rises_and_falls(recipe: MakeRecipe) -> None:
    course = recipe("teacher", phases=[{"steps": 100, "learning_rate": 1.0, "warmup": 10}])
    phase = course.phases[0]
    rates = [learning_rate(phase, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(rates[9])
    assert rates[99] == pytest.approx(0.02, abs=1e-3)
    assert rates[9:] == sorted(rates[9:], reverse=True)


def test_the_rate_is_halved_at_milestones(recipe: MakeRecipe) -> None:
    phase = {"steps": 9, "learning_rate": 1.0, "warmup": 0, "schedule": "halving"}
    course = recipe("teacher", phases=[phase | {"milestones": [3, 6]}])
    rates = [learning_rate(course.phases[0], step) for step in range(9)]
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_phases_follow_one_another(recipe: MakeRecipe) -> None:
    phases = recipe("teacher", phases=[{"steps": 2}, {"steps": 3}]).phases
    places = [phase_at(phases, step) for step in range(6)]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (1, 3)]


@pytest.mark.skipif(not OFFICIAL.is_file(), reason="the official configurations are not here")
class TestOfficialFiles:
    def test_bimacosr(self, tmp_path: Path) -> None:
        recipe = self.read(tmp_path, "Kai-Liu001/BiMaCoSR/configs/BiMaCoSR.yaml", "binarize")
        assert recipe.binarize.method == "bimacosr"
        assert recipe.phases[0].learning_rate == 2e-5
        assert (recipe.phases[0].warmup, recipe.phases[0].milestones) == (2000, (10_000,))
        assert (recipe.batch, recipe.optimiser.ema, recipe.data.patch) == (8, 0.999, 64)
        assert recipe.distill.truth_weight == 0
        assert recipe.teacher
        assert recipe.start

    def test_sinsr(self, tmp_path: Path) -> None:
        recipe = self.read(tmp_path, "wyf0912/SinSR/configs/SinSR.yaml", "distill")
        assert recipe.distill.learn_inverse
        assert recipe.distill.truth_weight == 1

    def test_resshift_is_no_student(self, tmp_path: Path) -> None:
        name = "zsyOAOA/ResShift/configs/realsr_swinunet_realesrgan256.yaml"
        assert self.read(tmp_path, name, "teacher").stage == "teacher"
        with pytest.raises(OptionError, match="no 1-bit network"):
            self.read(tmp_path, name, "binarize")

    def read(self, folder: Path, name: str, stage: Any) -> TrainRecipe:
        path = folder / "official.yaml"
        path.write_text(yaml.safe_dump(json.loads(OFFICIAL.read_text())[name]))
        return read_official_recipe(path, stage, [], {"data.sources": [str(folder)]})
