"""The spine with a network of three lines: sizes, kinds of pictures, threads, and bad results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bimacosr import noise
from bimacosr.config.upscale import UpscaleSettings
from bimacosr.errors import BackendError, LimitError, OptionError, ResultError
from bimacosr.io.color import bleed_edges, resize
from bimacosr.io.metadata import Metadata
from bimacosr.io.picture import Picture
from bimacosr.tiling import Feathered, Official
from bimacosr.upscale import Tiling, enlarge

RNG = np.random.default_rng(0)


class Repeat:
    """Nearest neighbour, in place of a network; notes what it was asked."""

    name = "repeat"

    def __init__(
        self,
        scale: int = 4,
        change: Callable[..., Any] | None = None,
        *,
        tiling: Tiling | None = None,
        side_by_side: bool = True,
        trusted: bool = True,
    ) -> None:
        self.scale = scale
        self.tiling = tiling or Feathered(margin=3)
        self.side_by_side, self.trusted = side_by_side, trusted
        self.threads: list[int] = []
        self.change = change
        self.asked: list[tuple[int, int, int, np.ndarray]] = []
        self.started: list[str] = []

    def start_worker(self, threads: int) -> None:
        self.threads.append(threads)
        self.started.append(threading.current_thread().name)

    def restore(self, lq: np.ndarray, *, row: int, column: int, seed: int) -> np.ndarray:
        assert threading.current_thread().name in self.started
        self.asked.append((row, column, seed, lq.copy()))
        sr: np.ndarray = lq.repeat(self.scale, 0).repeat(self.scale, 1)
        return sr if self.change is None else self.change(sr, row=row, column=column, seed=seed)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def pixels(height: int, width: int, channels: int = 3, kind: type = np.uint8) -> np.ndarray:
    return RNG.integers(0, np.iinfo(kind).max, (height, width, channels), kind, endpoint=True)


def repeated(array: np.ndarray, scale: int = 4) -> np.ndarray:
    return array.repeat(scale, 0).repeat(scale, 1)


class TestPictures:
    @pytest.mark.parametrize(
        ("height", "width"), [(1, 1), (1, 5000), (5000, 1), (16, 16), (17, 33), (70, 45)]
    )
    def test_any_size(self, height: int, width: int) -> None:
        picture = Picture(pixels(height, width))
        large = enlarge(picture, Repeat(), UpscaleSettings(tile=16, threads=2))
        np.testing.assert_array_equal(large.pixels, repeated(picture.pixels))

    @pytest.mark.parametrize("kind", [np.uint8, np.uint16])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_depth_and_channels_stay(self, kind: type, channels: int) -> None:
        picture = Picture(pixels(40, 37, channels, kind))
        large = enlarge(picture, Repeat(), UpscaleSettings(tile=16, threads=1))
        assert large.pixels.dtype == kind
        np.testing.assert_array_equal(large.pixels, repeated(picture.pixels))

    def test_grey_is_shown_to_the_network_in_three_channels(self) -> None:
        backend = Repeat()
        enlarge(Picture(pixels(20, 20, 1)), backend, UpscaleSettings(threads=1))
        lq = backend.asked[0][3]
        assert lq.shape == (20, 20, 3)
        assert (lq == lq[..., :1]).all()

    def test_the_network_sees_numbers_from_0_to_1(self) -> None:
        for kind in (np.uint8, np.uint16):
            backend, picture = Repeat(), Picture(pixels(20, 20, 3, kind))
            picture.pixels[0, 0], picture.pixels[1, 1] = 0, np.iinfo(kind).max
            enlarge(picture, backend, UpscaleSettings(threads=1))
            lq = backend.asked[0][3]
            assert lq.dtype == np.float32
            assert (lq.min(), lq.max()) == (0, 1)

    def test_what_belongs_to_the_picture_stays(self) -> None:
        metadata = Metadata(icc=b"profile")
        picture = Picture(pixels(8, 8), metadata=metadata, format="WEBP")
        large = enlarge(picture, Repeat(), UpscaleSettings(threads=1))
        assert large.metadata == metadata
        assert large.format == "WEBP"
        assert large.alpha is None

    def test_the_input_is_not_changed(self) -> None:
        picture = Picture(pixels(30, 30), alpha=pixels(30, 30)[..., 0] // 200)
        before = picture.pixels.copy()
        enlarge(picture, Repeat(), UpscaleSettings(threads=1))
        np.testing.assert_array_equal(picture.pixels, before)

    def test_values_beyond_white_and_black_are_clipped(self) -> None:
        backend = Repeat(change=lambda sr, **_: (sr - 0.5) * 1.4 + 0.5)
        picture = Picture(pixels(20, 20))
        large = enlarge(picture, backend, UpscaleSettings(threads=1)).pixels
        wanted = np.rint(np.clip((picture.pixels / 255 - 0.5) * 1.4 + 0.5, 0, 1) * 255)
        assert np.abs(large - repeated(wanted)).max() <= 1
        assert (large.min(), large.max()) == (0, 255)


class TestAlpha:
    @pytest.mark.parametrize("kind", [np.uint8, np.uint16])
    def test_it_is_enlarged_by_a_classic_filter(self, kind: type) -> None:
        alpha = pixels(20, 24, 1, kind)[..., 0]
        picture = Picture(pixels(20, 24, 3, kind), alpha=alpha)
        large = enlarge(picture, Repeat(), UpscaleSettings(threads=1))
        assert large.alpha is not None
        assert large.alpha.dtype == kind
        np.testing.assert_array_equal(large.alpha, resize(alpha, (96, 80)))

    @pytest.mark.parametrize("level", [1, 128, 255])
    def test_an_even_alpha_stays_even(self, level: int) -> None:
        picture = Picture(pixels(9, 9), alpha=np.full((9, 9), level, np.uint8))
        large = enlarge(picture, Repeat(), UpscaleSettings(threads=1, width=50))
        assert large.alpha is not None
        assert large.alpha.shape == (50, 50)
        assert (large.alpha == level).all()

    def test_what_lies_under_transparent_pixels_is_not_seen(self) -> None:
        backend = Repeat()
        colours = np.full((24, 24, 3), 200, np.uint8)
        alpha = np.full((24, 24), 255, np.uint8)
        colours[:, 12:], alpha[:, 12:] = 0, 0
        large = enlarge(Picture(colours, alpha=alpha), backend, UpscaleSettings(threads=1))
        assert (backend.asked[0][3] == np.float32(200 / 255)).all()
        assert (large.pixels == 200).all()


class TestSizes:
    @pytest.mark.parametrize(
        ("settings", "size"),
        [
            ({}, (40, 60)),
            ({"scale": 4.0}, (40, 60)),
            ({"scale": 2.0}, (20, 30)),
            ({"scale": 3.14}, (31, 47)),
            ({"scale": 8.0}, (80, 120)),
            ({"scale": 0.01}, (1, 1)),
            ({"width": 33}, (22, 33)),
            ({"height": 33}, (33, 50)),
            ({"width": 7, "height": 70}, (70, 7)),
            ({"width": 1}, (1, 1)),
        ],
    )
    def test_size_of_the_result(self, settings: dict[str, Any], size: tuple[int, int]) -> None:
        picture = Picture(pixels(10, 15), alpha=pixels(10, 15)[..., 0])
        large = enlarge(picture, Repeat(), UpscaleSettings(threads=1, **settings))
        assert large.pixels.shape == (*size, 3)
        assert large.alpha is not None
        assert large.alpha.shape == size
        native = repeated(bleed_edges(picture.pixels, picture.alpha))
        if size != native.shape[:2]:
            native = resize(native, (size[1], size[0]))
        np.testing.assert_array_equal(large.pixels, native)

    @pytest.mark.parametrize("scale", [2, 3])
    def test_models_of_other_scales(self, scale: int) -> None:
        picture = Picture(pixels(20, 25))
        large = enlarge(picture, Repeat(scale), UpscaleSettings(tile=16, threads=1))
        np.testing.assert_array_equal(large.pixels, repeated(picture.pixels, scale))


class TestTiles:
    def test_each_is_shown_with_its_place_and_the_seed(self) -> None:
        backend, picture = Repeat(), Picture(pixels(50, 60))
        enlarge(picture, backend, UpscaleSettings(tile=16, threads=3, seed=77))
        assert len(backend.asked) == 4 * 4
        for row, column, seed, lq in backend.asked:
            assert seed == 77
            h, w = lq.shape[:2]
            seen = picture.pixels[row : row + h, column : column + w]
            np.testing.assert_array_equal(np.rint(lq * 255), seen)

    def test_margin_and_feather_are_read_around_the_core(self) -> None:
        backend = Repeat()
        enlarge(Picture(pixels(16, 48)), backend, UpscaleSettings(tile=16, threads=1))
        around = 4 + 3
        size = 16 + 2 * around  # of all, also at the edges
        assert [(column, lq.shape[1]) for _, column, _, lq in backend.asked] == [
            (0, size),
            (16 - around, size),
            (48 - size, size),
        ]

    def test_tile_size_does_not_change_a_picture_without_noise(self) -> None:
        picture = Picture(pixels(70, 90))
        found = [
            enlarge(picture, Repeat(), UpscaleSettings(tile=tile, threads=1)).pixels
            for tile in (16, 37, 4096)
        ]
        np.testing.assert_array_equal(found[0], found[2])
        np.testing.assert_array_equal(found[1], found[2])

    def test_progress_counts_every_tile_once(self) -> None:
        told: list[tuple[int, int]] = []
        settings = UpscaleSettings(tile=16, threads=3)
        enlarge(
            Picture(pixels(50, 60)), Repeat(), settings, progress=lambda *done: told.append(done)
        )
        assert told == [(k, 16) for k in range(1, 17)]


def noisy(sr: np.ndarray, *, row: int, column: int, seed: int) -> np.ndarray:
    """Some noise by place, and tiles that take their time in another order than the plan's."""
    time.sleep(((row * 7 + column * 3) % 5) / 500)
    rows, columns = range(row * 4, row * 4 + len(sr)), range(column * 4, column * 4 + sr.shape[1])
    return sr + 0.05 * noise.normal(seed, rows, columns, 3).transpose(1, 2, 0)


class TestThreads:
    def test_their_number_changes_no_bit(self) -> None:
        picture = Picture(pixels(60, 70, 3, np.uint16))
        found = {
            threads: enlarge(
                picture, Repeat(change=noisy), UpscaleSettings(tile=16, threads=threads, seed=5)
            ).pixels
            for threads in (1, 2, 5, 0)
        }
        for threads in (2, 5, 0):
            np.testing.assert_array_equal(found[threads], found[1])
        assert np.abs(found[1].astype(float) - repeated(picture.pixels)).max() > 100

    def test_the_seed_changes_the_noise(self) -> None:
        picture = Picture(pixels(20, 20))
        one, same, other = (
            enlarge(picture, Repeat(change=noisy), UpscaleSettings(threads=1, seed=seed)).pixels
            for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(one, same)
        assert (one != other).mean() > 0.5

    @pytest.mark.parametrize("threads", [1, 3])
    def test_each_starts_once_and_as_many_as_asked(self, threads: int) -> None:
        together, met = threading.Barrier(threads), set[str]()

        def change(sr: np.ndarray, **_: Any) -> np.ndarray:
            if (name := threading.current_thread().name) not in met:
                met.add(name)
                together.wait(timeout=30)  # until as many threads are at work
            return sr

        backend = Repeat(change=change)
        enlarge(Picture(pixels(80, 80)), backend, UpscaleSettings(tile=16, threads=threads))
        assert len(set(backend.started)) == len(backend.started) == threads
        assert set(backend.threads) == {1}

    def test_or_all_of_them_work_on_one_tile_after_another(self) -> None:
        backend = Repeat(change=noisy, side_by_side=False)
        enlarge(Picture(pixels(50, 60)), backend, UpscaleSettings(tile=16, threads=3))
        assert backend.threads == [3]
        places = [(row, column) for row, column, *_ in backend.asked]
        assert places == sorted(places)

    def test_several_pictures_at_the_same_time(self) -> None:
        backend = Repeat(change=noisy)
        settings = UpscaleSettings(tile=16, threads=2, seed=3)
        pictures = [Picture(pixels(40, 30)) for _ in range(3)]
        wanted = [enlarge(picture, backend, settings).pixels for picture in pictures]
        found: dict[int, np.ndarray] = {}

        def work(k: int) -> None:
            found[k] = enlarge(pictures[k], backend, settings).pixels

        workers = [threading.Thread(target=work, args=(k,)) for k in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        for k in range(3):
            np.testing.assert_array_equal(found[k], wanted[k])


def with_one(value: float) -> Callable[..., np.ndarray]:
    def change(sr: np.ndarray, **_: Any) -> np.ndarray:
        sr[-1, -1, 1] = value
        return sr

    return change


class TestTilings:
    def test_the_backends_own_is_taken_unless_the_user_says(self) -> None:
        for tile, tiles in ((None, 2), (32, 8)):
            backend = Repeat(tiling=Feathered(margin=1, tile=80))
            enlarge(Picture(pixels(64, 128)), backend, UpscaleSettings(tile=tile))
            assert len(backend.asked) == tiles

    def test_the_official_one(self) -> None:
        backend = Repeat(tiling=Official(chop_size=64), side_by_side=False)
        picture = Picture(pixels(70, 131, 3, np.uint16))
        large = enlarge(picture, backend, UpscaleSettings())
        np.testing.assert_array_equal(large.pixels, repeated(picture.pixels))
        places = [(row, column) for row, column, *_ in backend.asked]
        assert places == [(row, column) for row in (0, 6) for column in (0, 56, 67)]

    def test_the_official_one_has_no_cores(self) -> None:
        backend = Repeat(tiling=Official())
        with pytest.raises(
            OptionError, match="tile is 32, but the official tiling takes chop_size"
        ):
            enlarge(Picture(pixels(9, 9)), backend, UpscaleSettings(tile=32))


class TestDoubts:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda sr, **_: sr * 0 + 0.5, "gave a flat result where the picture is not; are its"),
            (lambda sr, **_: 1 - sr, "gave a result that does not resemble the picture; are its"),
        ],
    )
    def test_of_weights_that_the_user_brings_are_said_once(
        self, change: Callable[..., Any], words: str
    ) -> None:
        told: list[str] = []
        backend = Repeat(change=change, trusted=False)
        settings = UpscaleSettings(tile=16, threads=2)
        large = enlarge(Picture(pixels(60, 60)), backend, settings, notice=told.append)
        assert large.pixels.shape == (240, 240, 3)
        assert len(told) == 1
        assert words in told[0]

    def test_without_a_listener_they_are_a_warning(self) -> None:
        backend = Repeat(change=lambda sr, **_: 1 - sr, trusted=False)
        with pytest.warns(UserWarning, match="does not resemble the picture"):
            enlarge(Picture(pixels(20, 20)), backend, UpscaleSettings(threads=1))

    def test_nan_is_an_error_all_the_same(self) -> None:
        backend = Repeat(change=lambda sr, **_: sr * np.nan, trusted=False)
        with pytest.raises(ResultError, match="gave NaN"):
            enlarge(Picture(pixels(20, 20)), backend, UpscaleSettings(threads=1))


class TestBadResults:
    @pytest.mark.parametrize("threads", [1, 4])
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (with_one(np.nan), "gave NaN for a part of the picture"),
            (with_one(np.inf), "gave NaN for a part of the picture"),
            (lambda sr, **_: sr * 0, "does not resemble the picture|flat result"),
            (lambda sr, **_: sr * 0 + sr.mean(), "flat result where the picture is not"),
            (lambda sr, **_: 1 - sr, "does not resemble the picture"),
            (lambda sr, **_: sr[:, ::-1], "does not resemble the picture"),
        ],
    )
    def test_it_is_refused(self, change: Callable[..., Any], message: str, threads: int) -> None:
        settings = UpscaleSettings(tile=16, threads=threads)
        with pytest.raises(ResultError, match=message):
            enlarge(Picture(pixels(60, 60)), Repeat(change=change), settings)

    def test_one_bad_tile_is_enough_and_the_rest_is_not_computed(self) -> None:
        def change(sr: np.ndarray, *, row: int, column: int, seed: int) -> np.ndarray:
            return sr * np.nan if row > 0 else sr

        backend = Repeat(change=change)
        with pytest.raises(ResultError, match="gave NaN"):
            enlarge(Picture(pixels(320, 64)), backend, UpscaleSettings(tile=16, threads=1))
        # 4 good tiles, the bad one, and the one that was waiting behind it
        assert len(backend.asked) <= 4 + 1 + 1

    @pytest.mark.parametrize("level", [0, 128, 255])
    def test_a_flat_picture_may_stay_flat(self, level: int) -> None:
        picture = Picture(np.full((40, 40, 3), level, np.uint8))
        large = enlarge(picture, Repeat(), UpscaleSettings(tile=16, threads=1))
        assert (large.pixels == level).all()

    def test_fine_dots_may_melt_into_the_grey_they_mean(self) -> None:
        dots = (np.indices((32, 32)).sum(0) % 2 * 255).astype(np.uint8)[..., None]
        melted = Repeat(change=lambda sr, **_: 0.5 + 0.2 * (sr - 0.5))
        enlarge(Picture(dots), melted, UpscaleSettings())

    def test_a_usual_result_passes(self) -> None:
        backend = Repeat(change=lambda sr, **_: np.clip(sr * 0.8 + 0.15, 0, 1))
        enlarge(Picture(pixels(40, 40)), backend, UpscaleSettings(threads=1))

    @pytest.mark.parametrize("error", [BackendError("no device"), RuntimeError("a defect")])
    @pytest.mark.parametrize("threads", [1, 4])
    def test_errors_of_the_backend_come_through(self, error: Exception, threads: int) -> None:
        def change(sr: np.ndarray, *, row: int, column: int, seed: int) -> np.ndarray:
            if column > 20:
                raise error
            return sr

        settings = UpscaleSettings(tile=16, threads=threads)
        with pytest.raises(type(error), match=str(error)):
            enlarge(Picture(pixels(60, 60)), Repeat(change=change), settings)

    def test_too_little_memory_for_a_tile(self) -> None:
        def change(sr: np.ndarray, **_: Any) -> np.ndarray:
            raise MemoryError

        message = "a tile does not fit in memory; choose a smaller --tile"
        with pytest.raises(LimitError, match=message):
            enlarge(Picture(pixels(9, 9)), Repeat(change=change), UpscaleSettings(threads=1))

    def test_too_little_memory_for_the_result(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> None:
            raise MemoryError

        picture = Picture(pixels(5, 9))
        message = "the result of 36x20 pixels does not fit in memory; ask for a smaller"
        monkeypatch.setattr("bimacosr.upscale.np.empty", refuse)
        with pytest.raises(LimitError, match=message):
            enlarge(picture, Repeat(), UpscaleSettings(threads=1))

    def test_an_interrupt_in_the_progress_ends_the_work(self) -> None:
        def interrupt(done: int, total: int) -> None:
            raise KeyboardInterrupt

        backend = Repeat()
        settings = UpscaleSettings(tile=16, threads=2)
        with pytest.raises(KeyboardInterrupt):
            enlarge(Picture(pixels(320, 64)), backend, settings, progress=interrupt)
        assert len(backend.asked) <= 6


class TestSettings:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"seed": -1}, r"seed is -1; it must be from 0 to 2\^64 - 1"),
            ({"seed": 2**64}, "seed is 18446744073709551616"),
            ({"tile": 15}, "tile is 15 pixels; it must be from 16 to 4096"),
            ({"tile": 4097}, "tile is 4097 pixels"),
            ({"threads": -1}, r"threads is -1; it must be from 0 \(all\) to 1024"),
            ({"threads": 1025}, "threads is 1025"),
            ({"scale": 0.0}, "scale is 0.0; it must be more than 0 and at most 16"),
            ({"scale": 16.5}, "scale is 16.5"),
            ({"scale": float("nan")}, "scale is nan"),
            ({"scale": 2.0, "width": 10}, "give either a scale or a width and height, not both"),
            ({"width": 0}, "width is 0 pixels; it must be at least 1"),
            ({"height": -4}, "height is -4 pixels"),
        ],
    )
    def test_out_of_range(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(OptionError, match=message):
            UpscaleSettings(**changes)

    def test_at_the_ends_of_the_ranges(self) -> None:
        assert UpscaleSettings(seed=2**64 - 1, tile=16, threads=1024, scale=16).workers == 1024
        assert UpscaleSettings(seed=0, tile=4096, threads=0, width=1).workers >= 1
        assert Feathered(margin=0, tile=16).plan(9, 9), "the smallest tile must hold its own ramps"

    def test_a_changed_copy_is_checked_too(self) -> None:
        with pytest.raises(OptionError, match="tile is 3 pixels"):
            replace(UpscaleSettings(), tile=3)
