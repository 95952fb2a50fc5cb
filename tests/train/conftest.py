"""Twenty small pictures, and recipes so small that a stage is trained in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bimacosr.config.train import TrainRecipe
from bimacosr.train.recipe import recipe_from
from bimacosr.train.run import run_training

MakeRecipe = Callable[..., TrainRecipe]

CHAIN = {
    "steps": 3,
    "kappa": 0.1,
    "predict_type": "residual",
    "latent_flag": False,
    "normalize_input": False,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The order of every sum is then the same on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures with edges and gradients."""
    folder = tmp_path_factory.mktemp("photos")
    y, x = np.mgrid[:72, :72] / 72
    for i in range(20):
        waves = [np.sin((i + 2) * 3 * x + c) * np.cos((c + 3) * 4 * y) > 0.03 * i for c in range(3)]
        picture = (np.stack(waves, -1) * 120 + 90 * x[..., None] + 30 * y[..., None]).clip(0, 255)
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{i:02d}.png")
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the degraded pairs of all tests lie: they are made once."""
    return tmp_path_factory.mktemp("pairs")


def make_recipe(photos: Path, cache: Path, stage: str, **changes: Any) -> TrainRecipe:
    """A small recipe with some settings changed."""
    phase = {"steps": 6, "learning_rate": 2e-3, "warmup": 2, "weights": {"latent": 1, "l1": 1}}
    tree: dict[str, Any] = {
        "stage": stage,
        "model": {"family": "edge", "edge": {"channels": 8, "blocks": 2}},
        "diffusion": CHAIN,
        "binarize": {
            "rank": 2,
            "sign_of_zero": 1,
            "sign_gradient": "bireal_relative",
            "keep_float_conv": [{"keywords": ["first", "last"]}],
        },
        "data": {
            "sources": [str(photos)],
            "patch": 12,
            "low_quality": "mild",
            "cache": str(cache),
            "variants": 2,
        },
        "batch": 4,
        "phases": [phase],
        "log": {"every": 3, "save_every": 100, "pictures_every": 0, "tensorboard": False},
    }
    return recipe_from(tree | changes)


@pytest.fixture
def recipe(photos: Path, cache: Path) -> MakeRecipe:
    """`recipe("teacher", batch=2)`, see `make_recipe`."""
    return partial(make_recipe, photos, cache)


@pytest.fixture(scope="session")
def trained(photos: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of all three stages, `teacher`, `student` and `one-bit`."""
    folder = tmp_path_factory.mktemp("runs")
    make = partial(make_recipe, photos, cache)
    teacher, student = str(folder / "teacher"), str(folder / "student")
    weights = {"latent": 1, "l1": 1}
    phases = [{"steps": 60, "learning_rate": 3e-3, "warmup": 5, "weights": weights}]
    run_training(make("teacher", phases=phases), Path(teacher))
    run_training(make("distill", teacher=teacher, pool=80, phases=phases), Path(student))
    last = make("binarize", teacher=teacher, start=student, pool=80, phases=phases)
    run_training(last, folder / "one-bit")
    return folder
