"""Where weight files, example pictures and evaluation sets lie, for the tests that need them."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

# beside the checkout by default; what is not there is skipped, with its path as the reason
SHARED = Path(os.environ.get("BIMACOSR_SHARED", Path(__file__).parents[4] / "shared"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """One torch thread: on a busy machine two that wait for each other take ten times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _there(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not there (BIMACOSR_SHARED names its parent)")
    return path


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"oracle_{path.stem}", _there(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def weights_dir() -> Path:
    """The directory of the real weight files."""
    return _there(SHARED / "weights" / "lpips_alex.safetensors").parent


@pytest.fixture(scope="session")
def metrics_oracle() -> ModuleType:
    """The independent torch program that was checked against published values."""
    return _module(SHARED / "weights" / "metrics.py")


@pytest.fixture(scope="session")
def grid_oracle() -> ModuleType:
    """The independent numpy program for grid peaks."""
    return _module(SHARED / "weights" / "grid_peak.py")


@pytest.fixture(scope="session")
def examples(weights_dir: Path) -> dict[str, Tensor]:
    """ex_ref, ex_p0, ex_p1 of richzhang/PerceptualSimilarity: 1x3x64x64."""
    folder = _there(weights_dir / "examples")
    return {p.stem: read_batch(p) for p in folder.glob("*.png")}


@pytest.fixture(scope="session")
def bicubic_pairs() -> list[tuple[Tensor, Tensor]]:
    """Bicubic results and originals, 1x3x512x512: the first 6 of each paired half."""
    pairs = []
    for name in ("RealSR_half", "DRealSR_half"):
        folder = _there(SHARED / "data" / "eval" / "paired" / name)
        for path in sorted((folder / "lr").iterdir())[:6]:
            with Image.open(path) as lq:
                sr = lq.convert("RGB").resize((lq.width * 4, lq.height * 4), Image.BICUBIC)
            pairs.append((to_batch(np.asarray(sr)), read_batch(folder / "hr" / path.name)))
    return pairs


def read_batch(path: Path) -> Tensor:
    with Image.open(path) as picture:
        return to_batch(np.asarray(picture.convert("RGB")))


def to_batch(picture_u8: np.ndarray) -> Tensor:
    return torch.from_numpy(picture_u8.copy()).permute(2, 0, 1)[None].float() / 255
