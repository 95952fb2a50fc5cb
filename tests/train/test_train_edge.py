"""`scripts/train_edge.py`: learns, and continues where it was stopped to the same weights."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT.parent / "shared" / "weights"

pytestmark = pytest.mark.skipif(
    not WEIGHTS.is_dir(), reason="the metric weights of ../shared/weights are not here"
)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_edge", ROOT / "scripts/train_edge.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_edge"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small pictures with edges and gradients."""
    folder = tmp_path_factory.mktemp("photos")
    y, x = np.mgrid[:512, :512] / 512
    for i in range(4):
        waves = [np.sin((i + 2) * 9 * x + c) * np.cos((c + 3) * 7 * y) > 0.1 * i for c in range(3)]
        picture = (np.stack(waves, -1) * 120 + 90 * x[..., None] + 30 * y[..., None]).clip(0, 255)
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{i}.webp", lossless=True)
    return folder


def arguments(photos: Path, out: Path, **changes: object) -> argparse.Namespace:
    settings = {
        "photos": photos,
        "val": photos,
        "weights": WEIGHTS,
        "out": out,
        "channels": 16,
        "blocks": 2,
        "batch": 2,
        "patch": 16,
        "steps": (3, 3, 3, 3),
        "perceptual": 0.06,
        "phase": 2.0,
        "flat": 2.0,
        "adversarial": 0.01,
        "blur": 0.7,
        "remember": 2,
        "ema": 0.999,
        "photo_share": 0.5,
        "rates": (1e-3, 1e-3, 6e-4, 3e-4),
        "start": None,
        "teacher_share": 0.0,
        "save_every": 1000,
        "variants": 1,
        "seed": 5,
        "threads": 1,
        "max_minutes": float("inf"),
        "no_compile": True,
    }
    return argparse.Namespace(**(settings | changes))


def test_a_run_stopped_after_every_step_ends_at_the_same_weights(
    script: ModuleType, photos: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    script.Trainer(arguments(photos, tmp_path / "whole")).train()
    for _ in range(12):
        script.Trainer(arguments(photos, tmp_path / "parts", max_minutes=0)).train()
    whole, parts = (
        torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "parts")
    )
    assert whole["step"] == parts["step"] == 12
    for part in ("network", "average", "discriminator"):
        for key, value in whole[part].items():
            assert torch.equal(value, parts[part][key]), f"{part}: {key}"


def test_the_loss_falls(script: ModuleType, photos: Path, tmp_path: Path) -> None:
    trainer = script.Trainer(arguments(photos, tmp_path, steps=(100, 100, 0, 0)))
    low, high, _ = trainer.pairs.batch(np.random.default_rng(1), 16, 16)

    def error() -> float:
        with torch.no_grad():
            return float((script.restore(trainer.average, low) - high).abs().mean())

    errors = [error()]
    for _ in range(2):
        for _ in range(100):
            trainer.advance()
        errors.append(error())
    assert errors[1] < 0.99 * errors[0]  # the float network against bicubic
    assert errors[2] < errors[1]  # its 1-bit student, trained on


def test_a_run_can_be_packed_and_loaded(
    script: ModuleType, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bimacosr

    script.Trainer(arguments(photos, tmp_path, steps=(1, 1, 0, 0))).train()
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import pack_edge

    packed = tmp_path / "small.safetensors"
    facts = json.dumps({"note": "tiny"})
    command = ["pack_edge", str(tmp_path / "state.pt"), str(packed), "--facts", facts]
    command += ["--colour-by", str(photos)]
    monkeypatch.setattr(sys, "argv", command)
    pack_edge.main()
    resolver = bimacosr.load(packed)
    assert resolver.model.extra == {"training_steps": 2, "residual_gain": 1.0, "note": "tiny"}
    assert resolver(Image.new("RGB", (8, 8), "red")).size == (32, 32)


def test_the_mean_colour_of_photographs_is_set_right(
    script: ModuleType, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import pack_edge

    student = pack_edge.binarize(pack_edge.EdgeNet(8, 1, 4), pack_edge.BINARIZE)
    low = torch.full((1, 3, 8, 8), 0.5)
    with torch.no_grad():
        student.last.weight.zero_()
        student.last.bias.fill_(0.1)
        assert float(pack_edge.restore(student, low).mean()) == pytest.approx(0.45)
        pack_edge.correct_colour(student, photos)
        assert float(pack_edge.restore(student, low).mean()) == pytest.approx(0.5, abs=0.002)


def test_a_deepened_network_is_carried_on_towards_a_teacher(
    script: ModuleType, photos: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    script.Trainer(arguments(photos, first, steps=(1, 1, 0, 0))).train()
    trainer = script.Trainer(arguments(photos, second))  # makes the pairs

    def teacher(low: torch.Tensor) -> torch.Tensor:
        return low.repeat_interleave(4, 2).repeat_interleave(4, 3)

    script.TargetCache(second / "targets.u8", trainer.pairs.lq).extend(teacher, 4, lambda *_: None)
    plan = {"start": first / "average-2.pt", "teacher_share": 1.0, "blocks": 3}
    trainer = script.Trainer(arguments(photos, second, steps=(0, 0, 60, 20), **plan))
    low, _, taught = trainer.pairs.batch(np.random.default_rng(1), 8, 16)
    assert torch.equal(taught, teacher(low))
    trainer.resume()

    def error() -> float:
        with torch.no_grad():
            return float((script.restore(trainer.average, low) - taught).abs().mean())

    before = error()
    for _ in range(80):
        trainer.advance()
    assert error() < 0.99 * before
