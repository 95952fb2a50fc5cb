"""Small photographs on disk, each with detail of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

WritePhoto = Callable[..., Path]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small pictures are degraded fastest by one thread, and on a busy machine by far."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def photo_pixels(seed: int, width: int, height: int) -> np.ndarray:
    """Smooth shapes with fine detail on them, as in a sharp photograph."""
    rng = np.random.default_rng(seed)
    shapes = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
    shapes = shapes.resize((width, height), Image.Resampling.BICUBIC)
    grain = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
    grain = grain.filter(ImageFilter.GaussianBlur(0.7))
    mixed = np.asarray(shapes, np.float32) * 0.7 + np.asarray(grain, np.float32) * 0.3
    return mixed.astype(np.uint8)


def pixels_of(path: Path) -> np.ndarray:
    """The pixels in a file, as Pillow reads them."""
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def write_photo(tmp_path: Path) -> WritePhoto:
    """`write_photo("a.png", seed=3)`: a photo at that place below the test's folder."""

    def write(name: str, seed: int = 0, width: int = 96, height: int = 80) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo_pixels(seed, width, height)).save(path)
        return path

    return write
