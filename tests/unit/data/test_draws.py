"""The one source of randomness: same seed, same draws, of the right distribution."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from bimacosr.data.draws import Draws, seed_for


def some(draws: Draws) -> list[object]:
    return [
        draws.between(2, 5),
        draws.happens(0.5),
        draws.one_of("abc"),
        draws.one_of("abc", (1, 2, 3)),
        draws.uniform(2, 3).tolist(),
        draws.normal(2, 3).tolist(),
        draws.poisson(torch.full((2, 3), 4.0)).tolist(),
    ]


@pytest.mark.parametrize("seed", [0, 1, -1, 2**63 - 1, 2**70])
def test_the_seed_decides_everything(seed: int) -> None:
    assert some(Draws(seed)) == some(Draws(seed))
    for one, other in zip(
        (Draws(seed).between(0, 1), Draws(seed).uniform(1).item()),
        (Draws(seed + 1).between(0, 1), Draws(seed + 1).uniform(1).item()),
        strict=True,
    ):
        assert one != other


def test_global_generators_are_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    some(Draws(5))
    assert torch.equal(torch.rand(3), expected)


def test_scalars_do_not_disturb_tensors() -> None:
    one, other = Draws(3), Draws(3)
    one.between(0, 1)
    assert torch.equal(one.normal(4), other.normal(4))


def test_distributions() -> None:
    draws = Draws(4)
    numbers = torch.tensor([draws.between(2, 6) for _ in range(4000)])
    assert 2 <= numbers.min() < 2.01
    assert 5.99 < numbers.max() <= 6
    assert float(numbers.mean()) == pytest.approx(4, abs=0.1)
    assert sum(draws.happens(0.3) for _ in range(4000)) == pytest.approx(1200, abs=120)
    assert not any(draws.happens(0) for _ in range(100))
    assert all(draws.happens(1) for _ in range(100))
    counts = Counter(draws.one_of("abc", (0.2, 0.7, 0.1)) for _ in range(4000))
    assert [counts[x] for x in "abc"] == [pytest.approx(n, abs=130) for n in (800, 2800, 400)]
    counts = Counter(draws.one_of((3, 5)) for _ in range(4000))
    assert counts[3] == pytest.approx(2000, abs=150)


def test_tensors() -> None:
    draws = Draws(4)
    flat = draws.uniform(200, 200)
    assert flat.shape == (200, 200)
    assert 0 <= flat.min() < 0.001
    assert 0.999 < flat.max() < 1
    bell = draws.normal(200, 200)
    assert float(bell.std()) == pytest.approx(1, abs=0.02)
    counts = draws.poisson(torch.full((200, 200), 3.0))
    assert torch.equal(counts, counts.round())
    assert float(counts.mean()) == pytest.approx(3, abs=0.05)
    assert float(counts.var()) == pytest.approx(3, abs=0.15)


def test_seeds_of_parts_are_the_same_for_ever() -> None:
    assert seed_for("sample", 0, 1) == 5099201253383198512
    assert seed_for("ü\udce9", -1) == 2292505855874303939


def test_seeds_of_related_parts_are_unrelated() -> None:
    parts = [(name, seed, n) for name in ("a", "b", "") for seed in (-1, 0, 1) for n in range(50)]
    seeds = [seed_for(*part) for part in [*parts, ("a", 11), ("a1", 1), ("a", "1", 1)]]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert 0.4 < sum(seed >= 2**62 for seed in seeds) / len(seeds) < 0.6
