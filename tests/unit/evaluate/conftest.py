"""Small pictures in folders, and the programs under scripts/."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the test import the programs under scripts/."""
    folder = Path(__file__).parents[3] / "scripts"
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "evaluate_model", raising=False)
    return folder


def pixels(seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    """Random colours in blocks of 4 pixels."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return small.repeat(4, 0).repeat(4, 1)


def write(path: Path, picture: np.ndarray) -> Path:
    """Write a picture, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, lossless=True)
    return path
