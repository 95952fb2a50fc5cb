"""Squares, their reduction by area, and turned pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bimacosr.data.augment import area_resize, flip_and_turn, pad_to, random_square
from bimacosr.data.draws import Draws


def numbered(height: int, width: int) -> np.ndarray:
    return np.arange(height * width, dtype=np.uint8).reshape(height, width, 1).repeat(3, 2)


def test_padding_reflects() -> None:
    padded = pad_to(numbered(2, 3), 5)
    assert padded.shape == (5, 5, 3)
    assert padded[0, :, 0].tolist() == [0, 1, 2, 1, 0]
    assert padded[:, 0, 0].tolist() == [0, 3, 0, 3, 0]


def test_what_is_large_enough_is_not_padded() -> None:
    assert np.array_equal(pad_to(numbered(5, 7), 5), numbered(5, 7))


def test_squares_come_from_everywhere() -> None:
    corners = {int(random_square(numbered(6, 7), 5, Draws(seed))[0, 0, 0]) for seed in range(60)}
    assert corners == {0, 1, 2, 7, 8, 9}


class TestArea:
    def test_a_whole_factor_is_the_mean_of_blocks(self) -> None:
        x = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
        blocks = x.view(1, 3, 4, 3, 4, 3).mean((3, 5))
        torch.testing.assert_close(area_resize(x, 4), blocks)

    def test_parts_of_pixels_count_by_their_part(self) -> None:
        x = torch.tensor([[0.0, 3.0, 6.0]]).expand(3, 3)
        # each of the two covers 1.5 pixels: (0 + 3 / 2) / 1.5 and (3 / 2 + 6) / 1.5
        torch.testing.assert_close(area_resize(x, 2), torch.tensor([[1.0, 5.0], [1.0, 5.0]]))


class TestTurning:
    def test_all_eight_ways_are_met_and_equal_for_both(self) -> None:
        small, large = torch.arange(4.0).view(1, 2, 2), torch.arange(4.0).view(1, 2, 2) + 10
        seen = set()
        for seed in range(100):
            a, b = flip_and_turn((small, large), Draws(seed), flip=True, turn=True)
            assert torch.equal(a + 10, b)
            seen.add(tuple(a.flatten().tolist()))
        assert len(seen) == 8

    @pytest.mark.parametrize(("flip", "turn", "ways"), [(True, False, 2), (False, True, 4)])
    def test_only_what_is_wanted(self, flip: bool, turn: bool, ways: int) -> None:
        x = torch.arange(4.0).view(1, 2, 2)
        results = [flip_and_turn((x,), Draws(s), flip=flip, turn=turn)[0] for s in range(60)]
        assert len({tuple(r.flatten().tolist()) for r in results}) == ways

    def test_nothing_is_drawn_for_nothing(self) -> None:
        x, draws = torch.arange(4.0).view(1, 2, 2), Draws(0)
        assert torch.equal(flip_and_turn((x,), draws, flip=False, turn=False)[0], x)
        assert draws.between(0, 1) == Draws(0).between(0, 1)
