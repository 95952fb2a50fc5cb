"""Noise by place: published words, the documented use of them, and independence of the window."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimacosr.noise import normal, philox

# `philox4x32 10` in kat_vectors of Random123: counter, key, result
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def words(counter: tuple[int, ...], seed: int) -> list[int]:
    c0, c1, c2, c3 = (np.array([c], np.uint64) for c in counter)
    return [int(word[0]) for word in philox((c0, c1, c2, c3), seed)]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_published_words(
    counter: tuple[int, ...], key: tuple[int, int], result: tuple[int, ...]
) -> None:
    assert words(counter, key[0] | key[1] << 32) == list(result)


def test_each_value_is_the_documented_function_of_seed_and_place() -> None:
    seed, row, column, stream = 987654321987, 1234, 77, 5
    window = normal(seed, range(row, row + 1), range(column, column + 1), 7, stream=stream)
    for group in (0, 1):
        w = words((column, row, group, stream), seed)
        for pair in (0, 1):
            radius = math.sqrt(-2 * math.log((w[2 * pair] + 1) / 2**32))
            angle = 2 * math.pi * w[2 * pair + 1] / 2**32
            for offset, value in enumerate((radius * math.cos(angle), radius * math.sin(angle))):
                channel = 4 * group + 2 * pair + offset
                if channel < 7:
                    assert window[channel, 0, 0] == pytest.approx(value, rel=2e-7)


@given(
    y=st.integers(0, 40),
    x=st.integers(0, 40),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.integers(1, 9),
)
def test_a_window_is_a_part_of_the_plane(
    y: int, x: int, height: int, width: int, channels: int
) -> None:
    plane = normal(3, range(50), range(50), 9)
    window = normal(3, range(y, y + height), range(x, x + width), channels)
    np.testing.assert_array_equal(window, plane[:channels, y : y + height, x : x + width])
    assert window.dtype == np.float32
    assert window.shape == (channels, height, width)


def test_moments_and_tails() -> None:
    plane = normal(11, range(500), range(500), 4)
    count = plane.size
    assert abs(plane.mean()) < 5 / math.sqrt(count)
    assert plane.var() == pytest.approx(1, abs=5 * math.sqrt(2 / count))
    assert (plane**3).mean() == pytest.approx(0, abs=5 * math.sqrt(15 / count))
    assert (plane**4).mean() == pytest.approx(3, abs=5 * math.sqrt(96 / count))
    for sigmas, share in ((1, 0.317311), (2, 0.0455), (3, 0.0027)):
        found = float((abs(plane) > sigmas).mean())
        assert found == pytest.approx(share, abs=5 * math.sqrt(share / count))
    assert 4.5 < abs(plane).max() < 7


def test_neighbours_and_channels_are_independent() -> None:
    plane = normal(12, range(300), range(300), 5).astype(float)
    limit = 5 / 300
    assert abs((plane[:, 1:] * plane[:, :-1]).mean()) < limit
    assert abs((plane[:, :, 1:] * plane[:, :, :-1]).mean()) < limit
    correlation = np.corrcoef(plane.reshape(5, -1))
    assert abs(correlation - np.eye(5)).max() < limit


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"seed": 0}, {"seed": 1}),
        ({"seed": 1}, {"seed": 1 << 32}),  # the upper half of the key counts
        ({"seed": 0}, {"seed": 2**64 - 1}),
        ({"seed": 0, "stream": 0}, {"seed": 0, "stream": 1}),
    ],
)
def test_seeds_and_streams_give_unrelated_planes(
    one: dict[str, int], other: dict[str, int]
) -> None:
    a = normal(rows=range(64), columns=range(64), channels=3, **one).astype(float)
    b = normal(rows=range(64), columns=range(64), channels=3, **other).astype(float)
    assert not np.any(a == b)
    assert abs((a * b).mean()) < 5 / math.sqrt(a.size)


def test_only_64_bits_of_the_seed_count() -> None:
    a = normal(5, range(8), range(8), 3)
    np.testing.assert_array_equal(a, normal(5 + 2**64, range(8), range(8), 3))


def test_rows_and_columns_are_not_exchanged() -> None:
    plane = normal(5, range(8), range(8), 1)[0]
    assert not np.allclose(plane, plane.T)


def test_far_places() -> None:
    window = normal(0, range(2**31, 2**31 + 3), range(2**32 - 2, 2**32), 4)
    assert np.isfinite(window).all()
    assert len(np.unique(window)) == window.size
