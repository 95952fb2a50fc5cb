from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bimacosr.errors import ModelError, OptionError
from bimacosr.metrics.lpips import NETWORKS, Lpips, load_lpips

EACH = pytest.mark.parametrize("network", ["alex", "squeeze"])


@pytest.fixture(scope="module")
def made_up_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weight files of the right shapes with random numbers, for what needs no real ones."""
    folder = tmp_path_factory.mktemp("weights")
    g = torch.Generator().manual_seed(3)
    for spec in (NETWORKS["alex"], NETWORKS["squeeze"]):
        shapes = {k: v.shape for k, v in Lpips(spec).state_dict().items()}
        tensors = {
            k: torch.rand(s, generator=g)
            if k.startswith("lin")
            else torch.randn(s, generator=g) / max(1, s[1:].numel()) ** 0.5
            for k, s in shapes.items()
        }
        save_file(tensors, folder / spec.weight_file)
    return folder


def test_the_example_pictures_have_the_quoted_distances(
    weights_dir: Path, examples: dict[str, Tensor]
) -> None:
    lpips = load_lpips("alex", weights_dir)
    b = torch.cat([examples["ex_p0"], examples["ex_p1"]])
    values = lpips(examples["ex_ref"].expand_as(b), b)
    torch.testing.assert_close(values, torch.tensor([0.7219, 0.1376]), rtol=0, atol=5e-5)


def test_squeeze_has_the_values_of_the_torchmetrics_doctests(weights_dir: Path) -> None:
    lpips = load_lpips("squeeze", weights_dir)
    g = torch.Generator().manual_seed(42)
    a, b = (torch.rand(2, 3, 100, 100, generator=g) for _ in range(2))
    torch.testing.assert_close(lpips(a, b), torch.tensor([0.1024, 0.0938]), rtol=0, atol=5e-5)
    g = torch.Generator().manual_seed(42)
    a, b = (torch.rand(10, 3, 100, 100, generator=g) for _ in range(2))
    assert lpips(a, b).mean().item() == pytest.approx(0.1005, abs=5e-5)


@EACH
def test_bicubic_pictures_have_the_oracles_lpips(
    network: str,
    weights_dir: Path,
    bicubic_pairs: list[tuple[Tensor, Tensor]],
    metrics_oracle: ModuleType,
) -> None:
    lpips = load_lpips(network, weights_dir)
    backbone = {"alex": metrics_oracle.AlexNet, "squeeze": metrics_oracle.SqueezeNet}[network]
    oracle = metrics_oracle.LPIPS(backbone, weights_dir / NETWORKS[network].weight_file)
    for sr, hr in bicubic_pairs:
        with torch.no_grad():
            torch.testing.assert_close(lpips(sr, hr), oracle(sr, hr), rtol=0, atol=1e-6)


@EACH
def test_equal_pictures_have_distance_zero(network: str, made_up_dir: Path) -> None:
    picture = torch.rand(2, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    assert load_lpips(network, made_up_dir)(picture, picture).tolist() == [0, 0]


@EACH
def test_distance_is_symmetric_positive_and_one_for_each_picture(
    network: str, made_up_dir: Path
) -> None:
    lpips = load_lpips(network, made_up_dir)
    g = torch.Generator().manual_seed(4)
    a, b = torch.rand(3, 3, 40, 48, generator=g), torch.rand(3, 3, 40, 48, generator=g)
    forth, back = lpips(a, b), lpips(b, a)
    assert forth.shape == (3,)
    assert (forth > 0).all()
    torch.testing.assert_close(forth, back)
    torch.testing.assert_close(forth[1:2], lpips(a[1:2], b[1:2]))


@EACH
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_gradients_are_finite_on_flat_pictures(
    network: str, level: float, made_up_dir: Path
) -> None:
    lpips = load_lpips(network, made_up_dir)
    flat = torch.full((1, 3, 64, 64), level, requires_grad=True)
    other = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    for target in (other, torch.zeros_like(other), flat.detach()):
        (gradient,) = torch.autograd.grad(lpips(flat, target).sum(), flat)
        assert gradient.isfinite().all()


@EACH
def test_gradients_are_finite_on_flat_pictures_with_the_real_weights(
    network: str, weights_dir: Path
) -> None:
    lpips = load_lpips(network, weights_dir)
    for level in (0.0, 0.5, 1.0):
        flat = torch.full((1, 3, 64, 64), level, requires_grad=True)
        (gradient,) = torch.autograd.grad(lpips(flat, torch.full_like(flat, 0.3)).sum(), flat)
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0


@EACH
def test_descent_brings_a_picture_nearer(network: str, made_up_dir: Path) -> None:
    lpips = load_lpips(network, made_up_dir)
    g = torch.Generator().manual_seed(6)
    target = torch.rand(1, 3, 32, 32, generator=g)
    x = torch.rand(1, 3, 32, 32, generator=g).requires_grad_()
    optimizer = torch.optim.Adam([x], 0.02)
    before = lpips(x, target).item()
    for _ in range(15):
        optimizer.zero_grad()
        lpips(x, target).sum().backward()
        optimizer.step()
    assert lpips(x, target).item() < 0.8 * before


@EACH
def test_loading_freezes_the_weights_and_draws_no_random_numbers(
    network: str, made_up_dir: Path
) -> None:
    before = torch.random.get_rng_state()
    lpips = load_lpips(network, made_up_dir)
    assert torch.equal(before, torch.random.get_rng_state())
    assert not any(p.requires_grad for p in lpips.parameters())
    assert not lpips.training


@EACH
def test_the_shortest_side_that_is_named_works_and_one_less_is_refused(
    network: str, made_up_dir: Path
) -> None:
    lpips = load_lpips(network, made_up_dir)
    side = NETWORKS[network].min_px
    assert lpips(torch.zeros(1, 3, side, side), torch.ones(1, 3, side, side)).isfinite().all()
    with pytest.raises(OptionError, match=f"{side} px a side"):
        lpips(torch.zeros(1, 3, side - 1, 64), torch.ones(1, 3, side - 1, 64))


def test_a_missing_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"lpips_alex.safetensors is missing; .*--metric-weights"):
        load_lpips("alex", tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "lpips_alex.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(ModelError, match=r"lpips_alex.safetensors cannot be read"):
        load_lpips("alex", tmp_path)


def test_the_file_of_another_network_is_named(tmp_path: Path, made_up_dir: Path) -> None:
    source = made_up_dir / NETWORKS["squeeze"].weight_file
    (tmp_path / NETWORKS["alex"].weight_file).write_bytes(source.read_bytes())
    with pytest.raises(ModelError, match=r"lpips_alex.* does not hold the weights of LPIPS-alex"):
        load_lpips("alex", tmp_path)


def test_an_unknown_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no network 'vit'; it has alex, squeeze"):
        load_lpips("vit", tmp_path)
