from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_files import noise, smooth
from PIL import Image

from bimacosr.errors import ResultError
from bimacosr.io import (
    bleed_edges,
    convert_depth,
    from_float01,
    resize,
    to_float01,
    to_grey,
    to_rgb,
)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_all_values_survive_the_way_to_float_and_back(dtype) -> None:
    values = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    floats = to_float01(values)
    assert floats.dtype == np.float32
    assert (floats.min(), floats.max()) == (0, 1)
    np.testing.assert_array_equal(from_float01(floats, dtype), values)


def test_floats_are_clipped_and_halves_go_to_even() -> None:
    values = np.array([-1, 0.5 / 255, 1.5 / 255, 2.5 / 255, 2, np.inf])
    assert from_float01(values, np.uint8).tolist() == [0, 0, 2, 2, 255, 255]
    assert values[0] == -1


def test_nan_is_no_colour() -> None:
    with pytest.raises(ResultError, match="not numbers"):
        from_float01(np.array([0.5, np.nan], np.float32), np.uint8)


def test_depth_there_and_back() -> None:
    narrow = np.arange(256).astype(np.uint8)
    np.testing.assert_array_equal(convert_depth(convert_depth(narrow, np.uint16), np.uint8), narrow)
    wide = np.arange(65536).astype(np.uint16)
    np.testing.assert_array_equal(convert_depth(wide, np.uint8), np.rint(wide / 257))
    assert convert_depth(wide, np.uint16) is wide


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_through_rgb_is_the_same_grey(dtype) -> None:
    grey = noise(30, 20, 1, dtype)
    rgb = to_rgb(grey)
    assert rgb.shape == (30, 20, 3)
    np.testing.assert_array_equal(to_grey(rgb), grey)
    assert to_rgb(rgb) is rgb
    assert to_grey(grey) is grey


def test_luma_of_bt601() -> None:
    rgb = np.eye(3, dtype=np.float32)[None]
    np.testing.assert_allclose(to_grey(rgb).ravel(), [0.299, 0.587, 0.114], rtol=1e-6)


@pytest.mark.parametrize("name", ["bilinear", "bicubic", "lanczos"])
@given(
    source=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    seed=st.integers(0, 5),
)
@settings(max_examples=25, deadline=None)
def test_bands_do_not_show(name: str, source, size, seed: int) -> None:
    """Whatever the height of a band, the result is that of Pillow on the whole."""
    array = noise(*source, 1, np.uint16, seed)[..., 0].astype(np.float32) / 65535
    whole = Image.fromarray(array).resize(size, getattr(Image.Resampling, name.upper()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bimacosr.io.color._BAND_BYTES", 2000)
        found = resize(array, size, name)
    np.testing.assert_allclose(found, np.asarray(whole), atol=2e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_resized_integers_are_rounded_and_clipped(dtype) -> None:
    full = np.iinfo(dtype).max
    array = np.zeros((8, 8, 3), dtype)
    array[4:] = full
    large = resize(array, (32, 32))
    assert large.dtype == dtype
    assert large.shape == (32, 32, 3)
    assert (large.min(), large.max()) == (0, full)  # Lanczos rings: no value wraps round
    assert (large[:14] < full // 10).all()
    assert (large[18:] > full - full // 10).all()


def test_the_same_size_changes_nothing() -> None:
    array = noise(13, 17, 3, np.uint16)
    np.testing.assert_array_equal(resize(array, (17, 13)), array)


def test_resizing_needs_little_beside_its_result() -> None:
    array = noise(500, 500, 1)[..., 0]
    tracemalloc.start()
    try:
        large = resize(array, (4000, 4000))
        peak = tracemalloc.get_traced_memory()[1] - large.nbytes
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_hidden_colours_become_those_beside_them() -> None:
    rgb = np.zeros((40, 60, 3), np.uint8)
    alpha = np.zeros((40, 60), np.uint8)
    rgb[:, :20], alpha[:, :20] = (200, 10, 30), 255
    rgb[:, 50:], alpha[:, 50:] = (10, 90, 250), 1
    before = rgb.copy()
    filled = bleed_edges(rgb, alpha, reach=8)
    np.testing.assert_array_equal(rgb, before)
    np.testing.assert_array_equal(filled[alpha > 0], rgb[alpha > 0])
    assert (filled[:, 20:28] == (200, 10, 30)).all()
    assert (filled[:, 42:50] == (10, 90, 250)).all()
    assert (filled[:, 30:40] != 0).any(-1).all()


def test_no_dark_fringe_after_enlarging() -> None:
    y, x = np.mgrid[0:48, 0:48]
    alpha = np.where((y - 24) ** 2 + (x - 24) ** 2 < 200, 65535, 0).astype(np.uint16)
    rgb = np.where(alpha[..., None] > 0, 50000, 0).astype(np.uint16).repeat(3, -1)
    large = resize(bleed_edges(rgb, alpha), (192, 192))
    cover = resize(alpha, (192, 192))
    assert np.abs(large[cover > 0].astype(int) - 50000).max() < 100


@pytest.mark.parametrize(
    "alpha", [None, np.full((5, 5), 255, np.uint8), np.zeros((5, 5), np.uint8)]
)
def test_nothing_to_bleed(alpha) -> None:
    rgb = noise(5, 5)
    assert bleed_edges(rgb, alpha) is rgb


@given(seed=st.integers(0, 20), channels=st.sampled_from([1, 3]))
@settings(max_examples=20, deadline=None)
def test_bled_colours_lie_between_the_visible_ones(seed: int, channels: int) -> None:
    rgb = noise(15, 18, channels, np.uint16, seed)
    alpha = (noise(15, 18, 1, np.uint8, seed + 1)[..., 0] > 200).astype(np.uint16)
    filled = bleed_edges(rgb, alpha)
    np.testing.assert_array_equal(filled[alpha > 0], rgb[alpha > 0])
    for channel in range(channels):
        seen = rgb[alpha > 0][:, channel]
        assert filled[..., channel].min() >= seen.min()
        assert filled[..., channel].max() <= seen.max()


def test_a_smooth_picture_is_not_changed_by_16_bits() -> None:
    wide = smooth(20, 20, 3, np.uint16)
    assert np.abs(to_float01(wide) - to_float01(convert_depth(wide, np.uint8))).max() <= 0.5 / 255
