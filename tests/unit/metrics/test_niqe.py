from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bimacosr.errors import ModelError, OptionError
from bimacosr.metrics.niqe import WEIGHT_FILE, _fit, _halve, load_niqe


@pytest.fixture
def made_up_dir(tmp_path: Path) -> Path:
    """A model of the right shapes: standard normal features, a flat window."""
    tensors = {
        "mu_pris_param": torch.zeros(1, 36, dtype=torch.float64),
        "cov_pris_param": torch.eye(36, dtype=torch.float64),
        "gaussian_window": torch.full((7, 7), 1 / 49, dtype=torch.float64),
    }
    save_file(tensors, tmp_path / WEIGHT_FILE)
    return tmp_path


@pytest.mark.parametrize("plane", ["luma", "gray"])
def test_bicubic_pictures_have_the_oracles_niqe(
    plane: str,
    weights_dir: Path,
    bicubic_pairs: list[tuple[Tensor, Tensor]],
    metrics_oracle: ModuleType,
) -> None:
    niqe = load_niqe(weights_dir, plane)
    to_plane = {"luma": metrics_oracle.to_y, "gray": metrics_oracle.to_gray}[plane]
    oracle = metrics_oracle.NIQE(weights_dir / WEIGHT_FILE, to_plane)
    pictures = [sr for sr, _ in bicubic_pairs] + [hr for _, hr in bicubic_pairs[::6]]
    for picture in pictures:
        torch.testing.assert_close(niqe(picture), oracle(picture), rtol=0, atol=1e-9)


def test_flat_areas_and_ragged_sides_have_the_oracles_niqe(
    weights_dir: Path, metrics_oracle: ModuleType
) -> None:
    picture = torch.rand(1, 3, 300, 410, generator=torch.Generator().manual_seed(7))
    picture[..., :150, :200] = 0.25
    oracle = metrics_oracle.NIQE(weights_dir / WEIGHT_FILE)
    torch.testing.assert_close(load_niqe(weights_dir)(picture), oracle(picture), rtol=0, atol=1e-9)


def test_each_picture_of_a_batch_stands_alone(made_up_dir: Path) -> None:
    pictures = torch.rand(2, 3, 192, 192, generator=torch.Generator().manual_seed(8))
    niqe = load_niqe(made_up_dir)
    values = niqe(pictures)
    assert values.shape == (2,)
    assert values[1] == niqe(pictures[1:])[0]


@pytest.mark.parametrize("size", [(95, 400), (191, 95), (190, 190)])
def test_less_than_two_blocks_give_nan(size: tuple[int, int], made_up_dir: Path) -> None:
    assert load_niqe(made_up_dir)(torch.rand(1, 3, *size)).isnan().all()


def test_a_flat_picture_gives_nan(made_up_dir: Path) -> None:
    assert load_niqe(made_up_dir)(torch.full((1, 3, 192, 192), 0.5)).isnan().all()


@pytest.mark.parametrize("power", [1, 2])
def test_the_fit_finds_the_shape_and_width_of_known_noise(power: int) -> None:
    torch.manual_seed(9)
    noise = {
        1: torch.distributions.Laplace(0.0, 2.0).sample((1, 300, 300)),
        2: torch.distributions.Normal(0.0, 2.0).sample((1, 300, 300)),
    }[power].double()
    alpha, left, right = _fit(noise)
    width = 2 * power**0.5  # exp(-(|x| / width)^power): b of Laplace, sqrt(2) sigma of the normal
    assert alpha.item() == pytest.approx(power, rel=0.03)
    assert left.item() == pytest.approx(width, rel=0.03)
    assert right.item() == pytest.approx(width, rel=0.03)


def test_the_fit_tells_left_from_right() -> None:
    noise = torch.randn(1, 200, 200, generator=torch.Generator().manual_seed(10)).double()
    _, left, right = _fit(torch.where(noise < 0, noise, 3 * noise))
    assert (right / left).item() == pytest.approx(3, rel=0.05)


def test_halving_keeps_constants_and_ramps() -> None:
    flat = torch.full((1, 1, 8, 12), 7.0, dtype=torch.float64)
    torch.testing.assert_close(_halve(flat), flat[..., :4, :6])
    ramp = torch.arange(24, dtype=torch.float64).expand(1, 1, 8, 24)
    half = _halve(ramp)
    torch.testing.assert_close(half[0, 0, 0, 2:-2], torch.arange(2, 10).double() * 2 + 0.5)


def test_unknown_planes_and_files_of_others_are_refused(made_up_dir: Path) -> None:
    with pytest.raises(OptionError, match="no plane 'red'; it has luma, gray"):
        load_niqe(made_up_dir, "red")
    with pytest.raises(OptionError, match="Bx3xHxW"):
        load_niqe(made_up_dir)(torch.zeros(1, 1, 192, 192))
    save_file({"alpha": torch.zeros(3)}, made_up_dir / WEIGHT_FILE)
    with pytest.raises(ModelError, match="does not hold the model of NIQE"):
        load_niqe(made_up_dir)
