from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bimacosr.errors import ModelError, OptionError
from bimacosr.metrics.dists import Dists, load_dists
from bimacosr.metrics.lpips import load_lpips
from bimacosr.metrics.vgg import TAPS, WEIGHT_FILE


@pytest.fixture(scope="module")
def made_up_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weight files of VGG16 and DISTS with random numbers, since the true VGG16 is not there."""
    folder = tmp_path_factory.mktemp("weights")
    g = torch.Generator().manual_seed(3)
    shapes = {k: v.shape for k, v in Dists().state_dict().items()}
    tensors = {
        k: torch.rand(s, generator=g)
        if k in ("alpha", "beta")
        else torch.randn(s, generator=g) * (2 / max(1, s[1:].numel())) ** 0.5
        for k, s in shapes.items()
    }
    weights = {k: tensors.pop(k) for k in ("alpha", "beta")}
    save_file(weights, folder / "dists.safetensors")
    heads = {f"lin{i}": torch.rand(c, generator=g) for i, c in enumerate(TAPS.values())}
    save_file(tensors | heads, folder / WEIGHT_FILE)
    return folder


@pytest.fixture(scope="module")
def pictures() -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(5)
    a = torch.rand(2, 3, 40, 52, generator=g)
    return a, (a + 0.2 * torch.randn(a.shape, generator=g)).clamp(0, 1)


def test_dists_has_the_oracles_values(
    made_up_dir: Path, metrics_oracle: ModuleType, pictures: tuple[Tensor, Tensor]
) -> None:
    files = made_up_dir / WEIGHT_FILE, made_up_dir / "dists.safetensors"
    expected = metrics_oracle.DISTS(*files)(*pictures)
    assert (expected > 0.001).all()
    torch.testing.assert_close(load_dists(made_up_dir)(*pictures), expected, rtol=0, atol=2e-6)


def test_lpips_of_vgg_has_the_oracles_values(
    made_up_dir: Path, metrics_oracle: ModuleType, pictures: tuple[Tensor, Tensor]
) -> None:
    expected = metrics_oracle.LPIPS(metrics_oracle.VGG16, made_up_dir / WEIGHT_FILE)(*pictures)
    assert (expected > 0.001).all()
    torch.testing.assert_close(
        load_lpips("vgg", made_up_dir)(*pictures), expected, rtol=1e-5, atol=0
    )


def test_the_true_weights_have_a_place_for_each_channel(weights_dir: Path) -> None:
    from bimacosr.metrics.weights import read_tensors

    found = read_tensors(weights_dir, "dists.safetensors")
    expected = {k: v.shape for k, v in Dists().state_dict().items() if k in ("alpha", "beta")}
    assert {k: v.shape for k, v in found.items()} == expected


def test_equal_pictures_have_distance_zero_and_finite_gradients(made_up_dir: Path) -> None:
    dists = load_dists(made_up_dir)
    flat = torch.full((1, 3, 16, 16), 0.5, requires_grad=True)
    distance = dists(flat, flat.detach())
    assert distance.item() == pytest.approx(0, abs=1e-6)
    (gradient,) = torch.autograd.grad(distance.sum(), flat)
    assert gradient.isfinite().all()


def test_short_pictures_are_refused(made_up_dir: Path) -> None:
    dists = load_dists(made_up_dir)
    with pytest.raises(OptionError, match="16 px a side"):
        dists(torch.zeros(1, 3, 15, 16), torch.zeros(1, 3, 15, 16))


def test_files_of_something_else_are_named(tmp_path: Path) -> None:
    for name in ("dists.safetensors", WEIGHT_FILE):
        save_file({"alpha": torch.zeros(3)}, tmp_path / name)
    with pytest.raises(ModelError, match="do not hold the weights of DISTS"):
        load_dists(tmp_path)
