"""Tiles cover the picture once, their weights sum to 1, and no seam is left, for any sizes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bimacosr.errors import OptionError
from bimacosr.tiling import Block, Feathered, Official, Span, Tile, blend, plan


@dataclass(frozen=True)
class Cut:
    """A picture's size and how it is cut."""

    height: int
    width: int
    tile: int
    margin: int
    feather: int
    scale: int
    multiple: int = 1

    def rows(self) -> list[list[Tile]]:
        return plan(
            self.height,
            self.width,
            tile=self.tile,
            margin=self.margin,
            feather=self.feather,
            multiple=self.multiple,
        )

    def blocks(self, restored: Callable[[Tile], np.ndarray]) -> list[Block]:
        return list(blend(self.rows(), restored, scale=self.scale, width=self.width))

    def joined(self, restored: Callable[[Tile], np.ndarray]) -> np.ndarray:
        result = np.full((self.height * self.scale, self.width * self.scale, 2), np.nan, np.float32)
        for block in self.blocks(restored):
            bottom, right = block.y + block.pixels.shape[0], block.x + block.pixels.shape[1]
            assert np.isnan(result[block.y : bottom, block.x : right]).all()  # each place once
            result[block.y : bottom, block.x : right] = block.pixels
        return result


@st.composite
def cuts(draw: st.DrawFn) -> Cut:
    tile = draw(st.integers(1, 20))
    return Cut(
        height=draw(st.integers(1, 50)),
        width=draw(st.integers(1, 50)),
        tile=tile,
        margin=draw(st.integers(0, 9)),
        feather=draw(st.integers(0, tile // 2)),
        scale=draw(st.integers(1, 4)),
        multiple=draw(st.sampled_from([1, 1, 3, 8])),
    )


def picture_of(cut: Cut) -> np.ndarray:
    """Numbers that differ in every pixel."""
    rng = np.random.default_rng(cut.height * 64 + cut.width)
    return rng.random((cut.height, cut.width, 2), np.float32) + 0.5


def enlarged(array: np.ndarray, scale: int) -> np.ndarray:
    return array.repeat(scale, 0).repeat(scale, 1)


def cropped(picture: np.ndarray, tile: Tile) -> np.ndarray:
    ys, xs = tile.rows.read, tile.columns.read
    return picture[ys.start : ys.stop, xs.start : xs.stop]


def spans_of(cut: Cut) -> tuple[list[Span], list[Span]]:
    rows = cut.rows()
    return [row[0].rows for row in rows], [tile.columns for tile in rows[0]]


@given(cuts())
def test_every_row_has_the_same_columns_and_every_column_the_same_rows(cut: Cut) -> None:
    rows, columns = spans_of(cut)
    assert cut.rows() == [[Tile(row, column) for column in columns] for row in rows]


@given(cuts())
def test_cores_cover_each_axis_once_and_are_nearly_equal(cut: Cut) -> None:
    for length, spans in zip((cut.height, cut.width), spans_of(cut), strict=True):
        cores = [
            range(s.write.start + s.ramp_in // 2, s.write.stop - s.ramp_out // 2) for s in spans
        ]
        assert [place for core in cores for place in core] == list(range(length))
        lengths = [len(core) for core in cores]
        assert max(lengths) - min(lengths) <= 1
        # no longer than asked, but where its parts would be too thin for their ramps
        assert max(lengths) <= cut.tile or length // (len(cores) + 1) < 2 * cut.feather


@given(cuts())
def test_a_tile_reads_its_margin_and_nothing_outside_the_picture(cut: Cut) -> None:
    for length, spans in zip((cut.height, cut.width), spans_of(cut), strict=True):
        for span in spans:
            assert 0 <= span.read.start <= max(0, span.write.start - cut.margin)
            assert min(length, span.write.stop + cut.margin) <= span.read.stop <= length
            assert len(span.read) == len(spans[0].read)
            assert len(span.read) % cut.multiple == 0 or len(span.read) == length
            assert (span.ramp_in == 0) == (span.write.start == 0 or cut.feather == 0)
            assert (span.ramp_out == 0) == (span.write.stop == length or cut.feather == 0)


@given(cuts())
def test_weights_sum_to_1(cut: Cut) -> None:
    for length, spans in zip((cut.height, cut.width), spans_of(cut), strict=True):
        total = np.zeros(length * cut.scale)
        for span in spans:
            weight = span.weights(cut.scale)
            assert weight.dtype == np.float32
            assert weight.min() > 0
            assert weight.max() <= 1
            total[span.write.start * cut.scale : span.write.stop * cut.scale] += weight
        np.testing.assert_allclose(total, 1, atol=1e-6)


def test_weights_are_a_raised_cosine() -> None:
    span = Span(read=range(0, 10), write=range(2, 10), ramp_in=2, ramp_out=0)
    quarter = [0.5 - 0.5 * np.cos(np.pi * (k + 0.5) / 4) for k in range(4)]
    np.testing.assert_allclose(span.weights(2), quarter + [1] * 12, rtol=1e-6)
    falling = Span(read=range(0, 10), write=range(0, 8), ramp_in=0, ramp_out=2)
    np.testing.assert_allclose(falling.weights(2), [1] * 12 + quarter[::-1], rtol=1e-6)
    assert span.kept(2) == slice(4, 20)


@given(cuts())
@example(Cut(height=1, width=1, tile=1, margin=0, feather=0, scale=4))
@example(Cut(height=1, width=50, tile=8, margin=3, feather=4, scale=4))
def test_tiles_of_an_exact_upsampler_join_to_the_exact_picture(cut: Cut) -> None:
    picture = picture_of(cut)
    result = cut.joined(lambda tile: enlarged(cropped(picture, tile), cut.scale))
    wanted = enlarged(picture, cut.scale)
    np.testing.assert_allclose(result, wanted, rtol=5e-7)
    mixed = np.zeros(wanted.shape[:2], bool)
    for axis, spans in enumerate(spans_of(cut)):
        for span in spans:
            places = np.r_[
                span.write.start : span.write.start + span.ramp_in,
                span.write.stop - span.ramp_out : span.write.stop,
            ]
            for place in places:
                part = slice(place * cut.scale, (place + 1) * cut.scale)
                mixed[(part, slice(None)) if axis == 0 else (slice(None), part)] = True
    np.testing.assert_array_equal(result[~mixed], wanted[~mixed])


@given(cuts())
def test_what_is_read_but_not_written_never_shows(cut: Cut) -> None:
    picture = picture_of(cut)

    def restored(tile: Tile) -> np.ndarray:
        clean = enlarged(cropped(picture, tile), cut.scale)
        soiled = np.full_like(clean, np.nan)
        kept = tile.rows.kept(cut.scale), tile.columns.kept(cut.scale)
        soiled[kept] = clean[kept]
        return soiled

    clean = cut.joined(lambda tile: enlarged(cropped(picture, tile), cut.scale))
    np.testing.assert_array_equal(cut.joined(restored), clean)


@given(cuts(), st.integers(0, 99))
def test_the_order_in_which_tiles_were_made_changes_nothing(cut: Cut, seed: int) -> None:
    picture = picture_of(cut)
    tiles = [tile for row in cut.rows() for tile in row]
    noise = {tile: np.random.default_rng(k).random(2) for k, tile in enumerate(tiles)}

    def make(tile: Tile) -> np.ndarray:
        pixels = enlarged(cropped(picture, tile), cut.scale) + noise[tile]
        return pixels.astype(np.float32)

    random.Random(seed).shuffle(tiles)
    made = {tile: make(tile) for tile in tiles}
    np.testing.assert_array_equal(cut.joined(made.__getitem__), cut.joined(make))


@given(cuts())
def test_tiles_are_asked_for_once_in_the_plans_order(cut: Cut) -> None:
    asked: list[Tile] = []

    def restored(tile: Tile) -> np.ndarray:
        asked.append(tile)
        return enlarged(cropped(picture_of(cut), tile), cut.scale)

    cut.joined(restored)
    assert asked == [tile for row in cut.rows() for tile in row]


def test_two_tiles_are_mixed_by_their_weights() -> None:
    cut = Cut(height=1, width=8, tile=4, margin=1, feather=1, scale=1)
    left, right = cut.rows()[0]
    assert (left.columns.write, right.columns.write) == (range(0, 5), range(3, 8))
    value = {left: 0.0, right: 1.0}
    result = cut.joined(lambda tile: np.full((1, len(tile.columns.read), 2), value[tile], "f4"))
    rise = 0.5 - 0.5 * np.cos(np.pi * np.array([0.25, 0.75]))
    np.testing.assert_allclose(result[0, :, 0], [0, 0, 0, *rise, 1, 1, 1], rtol=1e-6)


@pytest.mark.parametrize(("width", "cores"), [(25, [8, 8, 9]), (15, [7, 8]), (10, [10])])
def test_the_cores_share_a_side_evenly(width: int, cores: list[int]) -> None:
    row = plan(1, width, tile=10, margin=0, feather=2)[0]
    found = [len(t.columns.write) - t.columns.ramp_in // 2 - t.columns.ramp_out // 2 for t in row]
    assert found == cores


def test_cores_grow_where_their_parts_would_be_too_thin_for_ramps() -> None:
    (tile,) = plan(1, 11, tile=10, margin=0, feather=3)[0]
    assert tile.columns.write == range(11)


@pytest.mark.parametrize(("tile", "feather", "least"), [(0, 0, 1), (7, 4, 8), (-3, 0, 1)])
def test_a_tile_smaller_than_its_ramps_is_refused(tile: int, feather: int, least: int) -> None:
    message = f"tile is {tile} pixels; it must be at least {least}$"
    with pytest.raises(OptionError, match=message):
        plan(30, 30, tile=tile, margin=1, feather=feather)
    assert plan(30, 30, tile=least, margin=1, feather=feather)


def test_a_tile_reads_as_much_more_on_both_sides_up_to_a_multiple() -> None:
    row = plan(1, 60, tile=20, margin=1, feather=2, multiple=16)[0]
    assert [tile.columns.read for tile in row] == [range(32), range(14, 46), range(28, 60)]
    assert row[1].columns.write == range(18, 42)


def test_a_networks_wishes_are_the_plans_arguments() -> None:
    tiling = Feathered(tile=20, margin=1, feather=2, multiple=16)
    assert tiling.plan(1, 60) == plan(1, 60, tile=20, margin=1, feather=2, multiple=16)
    assert len(tiling.of_tile(60).plan(1, 60)[0]) == 1


class TestOfficial:
    @pytest.mark.parametrize("size", [(1, 1), (64, 64), (65, 64), (30, 200), (150, 121), (90, 131)])
    def test_tiles_of_an_exact_upsampler_join_to_the_exact_picture(
        self, size: tuple[int, int]
    ) -> None:
        picture = np.random.default_rng(3).random((*size, 2), np.float32)
        tiling = Official(chop_size=64)
        result = np.full((2 * size[0], 2 * size[1], 2), np.nan, np.float32)
        for block in tiling.join(
            tiling.plan(*size), lambda tile: enlarged(cropped(picture, tile), 2), scale=2
        ):
            part = result[block.y : block.y + len(block.pixels)]
            assert block.x == 0
            assert np.isnan(part).all()
            part[:] = block.pixels
        np.testing.assert_allclose(result, enlarged(picture, 2), rtol=5e-7)

    def test_a_pixel_is_the_mean_of_its_clipped_tiles(self) -> None:
        tiling = Official(chop_size=8)
        values = iter([0.0, 0.5, 2.0])
        (block,) = tiling.join(
            tiling.plan(8, 16),
            lambda tile: np.full((8, len(tile.columns.read), 1), next(values), np.float32),
            scale=1,
        )
        # tiles at 0, 7 and 8
        assert block.pixels[0, :, 0].tolist() == [0.0] * 7 + [0.25] + [0.75] * 7 + [1.0]
