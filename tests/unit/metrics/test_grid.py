from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bimacosr.errors import OptionError
from bimacosr.metrics.grid import (
    colour_lattice_peaks,
    each_picture,
    grid_peaks,
    lattice_peaks,
    line_peaks,
    picture_peaks,
)

ROWS, COLUMNS = np.mgrid[:192, :256]


@pytest.fixture
def noise() -> np.ndarray:
    """White noise: no frequency stands out."""
    return np.random.default_rng(11).normal(128, 10, (192, 256, 3))


def test_noise_has_no_peaks(noise: np.ndarray) -> None:
    peaks = grid_peaks([noise])
    assert abs(peaks.lines) < 3
    assert peaks.lattice < 6
    assert peaks.colour_lattice < 6
    assert peaks.pictures == 1


@pytest.mark.parametrize("period", [2, 4])
@pytest.mark.parametrize("along", [ROWS, COLUMNS], ids=["rows", "columns"])
def test_stripes_are_seen_as_lines_and_lattice(
    period: int, along: np.ndarray, noise: np.ndarray
) -> None:
    stripes = 3 * np.cos(2 * np.pi * along / period)[..., None]
    peaks = grid_peaks([noise + stripes])
    assert peaks.lines > 4  # noise alone stays under 3
    assert peaks.lattice > 15
    assert peaks.colour_lattice < 6


def test_a_chequered_print_is_seen_on_the_lattice(noise: np.ndarray) -> None:
    print_2 = np.cos(np.pi * (ROWS + COLUMNS))[..., None]
    assert grid_peaks([noise + 2 * print_2]).lattice > 10


@pytest.mark.parametrize("channel", [0, 2])
def test_a_print_in_colour_alone_is_seen_there_alone(channel: int, noise: np.ndarray) -> None:
    rgb = np.zeros(3)
    rgb[channel] = 1
    rgb -= rgb @ [0.299, 0.587, 0.114]  # keeps the luminance
    peaks = grid_peaks([noise + 8 * np.cos(np.pi * ROWS / 2)[..., None] * rgb])
    assert peaks.colour_lattice > 10
    assert peaks.lattice < 6
    assert peaks.lines < 3


def test_other_periods_are_no_grid(noise: np.ndarray) -> None:
    stripes = 3 * np.cos(2 * np.pi * COLUMNS / 8)[..., None]
    assert grid_peaks([noise + stripes]).lattice < 6


def test_the_median_ignores_one_striped_picture_of_three(noise: np.ndarray) -> None:
    striped = noise + 20 * np.cos(np.pi * ROWS / 2)[..., None]
    assert grid_peaks([noise, striped, noise]) == grid_peaks([noise, noise, striped])
    assert grid_peaks([noise, striped, noise]).lattice < 6
    assert grid_peaks([striped, striped, noise]).lattice > 15


def test_flat_pictures_have_peaks_of_zero() -> None:
    peaks = grid_peaks([np.full((64, 64, 3), 9, np.uint8)])
    assert (peaks.lines, peaks.lattice, peaks.colour_lattice) == pytest.approx((0, 0, 0), abs=1e-6)


@pytest.mark.parametrize("shape", [(63, 64, 3), (64, 64), (64, 64, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match="x".join(map(str, shape))):
        picture_peaks(np.zeros(shape))


def test_no_picture_is_refused() -> None:
    with pytest.raises(OptionError, match="one picture"):
        grid_peaks([])


def test_bicubic_pictures_have_the_oracles_peaks(
    bicubic_pairs: list[tuple[Tensor, Tensor]], grid_oracle: ModuleType, tmp_path: Path
) -> None:
    pictures = [
        (batch[0].permute(1, 2, 0) * 255).round().byte().numpy()
        for pair in bicubic_pairs
        for batch in pair
    ]
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{i:02}.bmp")
    oracle = grid_oracle.grid_peak(tmp_path)
    peaks = grid_peaks(pictures)
    assert peaks.pictures == oracle["pictures"] == 24
    assert peaks.lines == pytest.approx(oracle["lines"], abs=1e-9)
    assert peaks.lattice == pytest.approx(oracle["lattice"], abs=1e-9)
    assert peaks.colour_lattice == pytest.approx(oracle["colour lattice"], abs=1e-9)


def test_grid_needs_no_torch() -> None:
    code = "import bimacosr.metrics.grid, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_peaks_of_a_batch_are_those_of_its_pictures(noise: np.ndarray) -> None:
    picture = noise.clip(0, 255).astype(np.uint8)
    peaks = picture_peaks(picture)
    batch = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    for function, expected in (
        (line_peaks, peaks.lines),
        (lattice_peaks, peaks.lattice),
        (colour_lattice_peaks, peaks.colour_lattice),
    ):
        measure = each_picture(function)
        assert measure(batch.expand(2, -1, -1, -1)).tolist() == [expected.tolist()] * 2
        small = measure(batch[..., :63])
        assert small.shape == (1, len(expected))
        assert small.isnan().all()
