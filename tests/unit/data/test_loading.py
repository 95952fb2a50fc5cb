"""Batches: a pure function of seed and sample number, whoever asks and in whatever order."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from bimacosr.config.data import DataSettings, low_quality
from bimacosr.data.loading import Batch, Prefetch, TrainingPairs
from bimacosr.errors import OptionError, ReadError
from tests.unit.data.conftest import WritePhoto, pixels_of

COUNT = 5


@pytest.fixture
def photos(write_photo: WritePhoto, tmp_path: Path) -> Path:
    for n in range(COUNT):
        write_photo(f"photos/{n}.png", seed=n, width=100 + n, height=96)
    return tmp_path / "photos"


@pytest.fixture(params=["fresh", "cached"])
def settings(request: pytest.FixtureRequest, photos: Path, tmp_path: Path) -> DataSettings:
    cache = tmp_path / "cache" if request.param == "cached" else None
    return DataSettings(
        sources=(photos,), patch=12, low_quality=low_quality("mixed"), cache=cache, variants=2
    )


def same(a: Batch, b: Batch) -> bool:
    pairs = ((a.lq, b.lq), (a.hq, b.hq), (a.index, b.index))
    return all(torch.equal(x, y) for x, y in pairs)


def joined(batches: list[Batch]) -> Batch:
    def cat(name: str) -> Tensor:
        return torch.cat([getattr(batch, name) for batch in batches])

    return Batch(cat("lq"), cat("hq"), cat("index"))


class TestBatch:
    def test_shapes_types_and_ranges(self, settings: DataSettings) -> None:
        batch = TrainingPairs(settings).batch(2, 4)
        assert batch.lq.shape == (4, 3, 12, 12)
        assert batch.hq.shape == (4, 3, 48, 48)
        assert batch.lq.dtype == batch.hq.dtype == torch.float32
        assert batch.index.tolist() == [8, 9, 10, 11]
        for half in (batch.lq, batch.hq):
            assert half.min() >= 0
            assert half.max() <= 1
        assert torch.equal(batch.lq, (batch.lq * 255).round() / 255)

    def test_both_halves_show_the_same_place_the_same_way_round(
        self, settings: DataSettings
    ) -> None:
        settings = replace(settings, low_quality=low_quality("bicubic"))
        batch = TrainingPairs(settings).batch(0, 16)
        large = F.interpolate(batch.lq, scale_factor=4, mode="bicubic")
        right = (large - batch.hq).square().mean((1, 2, 3))
        for wrong in (large.flip(-1), large.rot90(1, (2, 3)), large.roll(4, 3)):
            assert (right < (wrong - batch.hq).square().mean((1, 2, 3))).all()

    def test_another_object_gives_the_same(self, settings: DataSettings) -> None:
        assert same(TrainingPairs(settings).batch(3, 4), TrainingPairs(settings).batch(3, 4))

    def test_neither_order_nor_size_of_batches_matters(self, settings: DataSettings) -> None:
        pairs = TrainingPairs(settings)
        backwards = [pairs.batch(step, 2) for step in (2, 1, 0)][::-1]
        assert same(joined(backwards), pairs.batch(0, 6))

    @pytest.mark.parametrize("world", [2, 3])
    def test_ranks_share_the_batch(self, settings: DataSettings, world: int) -> None:
        whole = TrainingPairs(settings).batch(1, 6)
        shares = [TrainingPairs(settings).batch(1, 6, rank, world) for rank in range(world)]
        assert same(joined(shares), whole)

    def test_a_batch_that_cannot_be_shared(self, settings: DataSettings) -> None:
        with pytest.raises(OptionError, match="a batch of 4 cannot be shared by 3"):
            TrainingPairs(settings).batch(0, 4, 0, 3)

    def test_the_number_of_threads_changes_nothing(self, settings: DataSettings) -> None:
        before = torch.get_num_threads()
        batches = []
        try:
            for threads in (1, 2):
                torch.set_num_threads(threads)
                batches.append(TrainingPairs(settings).batch(0, 4))
        finally:
            torch.set_num_threads(before)
        assert same(*batches)

    def test_the_seed_decides(self, settings: DataSettings) -> None:
        other = TrainingPairs(replace(settings, seed=1)).batch(0, 4)
        assert not torch.equal(TrainingPairs(settings).batch(0, 4).hq, other.hq)

    def test_global_generators_are_left_alone(self, settings: DataSettings) -> None:
        torch.manual_seed(0)
        expected = torch.rand(3)
        torch.manual_seed(0)
        TrainingPairs(settings).batch(0, 2)
        assert torch.equal(torch.rand(3), expected)

    def test_every_picture_once_in_an_epoch_in_changing_order(
        self, write_photo: WritePhoto, settings: DataSettings, tmp_path: Path
    ) -> None:
        for n in range(COUNT):  # one brightness each
            path = write_photo(f"plain/{n}.png")

            Image.fromarray(np.full((64, 64, 3), 40 * n, np.uint8)).save(path)
        settings = replace(
            settings, sources=(tmp_path / "plain",), low_quality=low_quality("bicubic")
        )
        pairs = TrainingPairs(settings)
        orders = [
            tuple((pairs.batch(epoch, COUNT).hq[:, 0, 0, 0] * 255 / 40).round().int().tolist())
            for epoch in range(4)
        ]
        assert all(sorted(order) == list(range(COUNT)) for order in orders)
        assert len(set(orders)) > 1
        assert len(pairs) == COUNT

    def test_the_file_of_a_sample(self, settings: DataSettings, photos: Path) -> None:
        settings = replace(settings, low_quality=low_quality("bicubic"), flip=False, turn=False)
        pairs = TrainingPairs(settings)
        batch = pairs.batch(1, COUNT)
        for number, hq in zip(batch.index.tolist(), batch.hq, strict=True):
            photo = pixels_of(pairs.picture(number))
            patch = (hq * 255).round().byte().permute(1, 2, 0).numpy()
            corner = np.argwhere((photo[:-47, :-47] == patch[0, 0]).all(-1))
            places = ((y, x, y + 48, x + 48) for y, x in corner)
            assert any(np.array_equal(photo[t:b, x:r], patch) for t, x, b, r in places)


class TestFresh:
    """What only samples that are degraded anew know."""

    def make(self, photos: Path, **options: object) -> TrainingPairs:
        quality = low_quality("bicubic")
        return TrainingPairs(
            DataSettings(sources=(photos,), patch=12, low_quality=quality, **options)  # type: ignore[arg-type]
        )

    def test_a_square_larger_than_the_picture_is_reflected(self, photos: Path) -> None:
        assert self.make(photos, square_px=160).batch(0, 2).hq.shape == (2, 3, 48, 48)

    def test_a_picture_smaller_than_the_target_is_reflected(
        self, write_photo: WritePhoto, tmp_path: Path
    ) -> None:
        write_photo("small/a.png", width=30, height=20)
        assert self.make(tmp_path / "small").batch(0, 2).hq.shape == (2, 3, 48, 48)

    def test_rescaling_shows_the_whole_short_side(
        self, write_photo: WritePhoto, tmp_path: Path
    ) -> None:
        photo = write_photo("wide/a.png", width=96, height=96)

        pixels = pixels_of(photo).astype(np.float32)
        expected = (
            torch.from_numpy(pixels).permute(2, 0, 1).view(3, 48, 2, 48, 2).mean((2, 4)) / 255
        )
        pairs = self.make(tmp_path / "wide", rescale=True, flip=False, turn=False)
        torch.testing.assert_close(pairs.batch(0, 1).hq[0], expected, atol=1e-5, rtol=0)

    def test_pictures_that_do_not_fit_in_memory_are_read_again(self, photos: Path) -> None:
        assert same(self.make(photos, memory_mb=0).batch(0, 5), self.make(photos).batch(0, 5))

    def test_a_damaged_picture_is_told_once_and_the_next_takes_its_place(
        self, photos: Path
    ) -> None:
        bad = photos / "2.png"
        bad.write_bytes(bad.read_bytes()[:2000])
        told: list[str] = []
        settings = DataSettings(sources=(photos,), patch=12)
        pairs = TrainingPairs(settings, notice=told.append)
        batches = [pairs.batch(step, COUNT) for step in range(3)]
        assert len(told) == 1
        assert "2.png cannot be read as PNG" in told[0]
        assert same(batches[1], TrainingPairs(settings).batch(1, COUNT))
        used = {pairs.picture(number).name for number in range(COUNT)}
        assert used == {"0.png", "1.png", "3.png", "4.png"}

    def test_nothing_but_damaged_pictures(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(b"no picture")
        pairs = TrainingPairs(DataSettings(sources=(tmp_path,), patch=12))
        with pytest.raises(ReadError, match="none of the pictures can be read any more"):
            pairs.batch(0, 1)


class TestPrefetch:
    def test_batches_in_order_from_a_step_on(self, settings: DataSettings) -> None:
        pairs = TrainingPairs(settings)
        with Prefetch(pairs, 2, start=3, stop=7, threads=3, ahead=2) as batches:
            made = list(batches)
        assert len(made) == 4
        assert all(same(batch, pairs.batch(3 + n, 2)) for n, batch in enumerate(made))

    def test_a_resumed_run_gets_what_the_unbroken_one_got(self, settings: DataSettings) -> None:
        with Prefetch(TrainingPairs(settings), 3) as batches:
            unbroken = list(islice(batches, 6))
        with Prefetch(TrainingPairs(settings), 3, start=4) as batches:
            resumed = list(islice(batches, 2))
        assert all(same(*both) for both in zip(unbroken[4:], resumed, strict=True))

    def test_ranks(self, settings: DataSettings) -> None:
        pairs = TrainingPairs(settings)
        with Prefetch(pairs, 4, rank=1, world=2, stop=1) as batches:
            assert same(next(batches), pairs.batch(0, 4, 1, 2))

    def test_what_is_ahead_is_bounded(self, photos: Path) -> None:
        asked: list[int] = []
        pairs = Counting(photos, asked)
        with Prefetch(pairs, 1, ahead=3, threads=2) as batches:
            next(batches)
            deadline = time.monotonic() + 5
            while len(asked) < 4 and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.05)
            assert sorted(asked) == [0, 1, 2, 3]

    def test_waiting_is_measured(self, photos: Path) -> None:
        pairs = Counting(photos, [], pause_s=0.1)
        with Prefetch(pairs, 1) as batches:
            next(batches)
            assert 0.05 < batches.waited_seconds < 5
            time.sleep(0.3)
            before = batches.waited_seconds
            next(batches)
            assert batches.waited_seconds - before < 0.05

    def test_an_error_comes_where_its_batch_would(self, photos: Path) -> None:
        pairs = Counting(photos, [], fails_at=1)
        with Prefetch(pairs, 1) as batches:
            next(batches)
            with pytest.raises(ReadError, match="gone"):
                next(batches)

    def test_no_thread_works_on_after_the_end(self, photos: Path) -> None:
        with Prefetch(TrainingPairs(DataSettings(sources=(photos,), patch=12)), 1) as batches:
            next(batches)
        assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]

    def test_no_threads(self, photos: Path) -> None:
        with pytest.raises(OptionError, match="0 threads make no batches"):
            Prefetch(TrainingPairs(DataSettings(sources=(photos,), patch=12)), 1, threads=0)


class Counting(TrainingPairs):
    """Pairs that remember the steps they were asked for, and may be slow or fail."""

    def __init__(
        self, photos: Path, asked: list[int], pause_s: float = 0, fails_at: int | None = None
    ) -> None:
        super().__init__(
            DataSettings(sources=(photos,), patch=12, low_quality=low_quality("bicubic"))
        )
        self._asked, self._pause_s, self._fails_at = asked, pause_s, fails_at

    def batch(self, step: int, size: int, rank: int = 0, world: int = 1) -> Batch:
        self._asked.append(step)
        time.sleep(self._pause_s)
        if step == self._fails_at:
            raise ReadError("gone")
        return super().batch(step, size, rank, world)


class TestSettings:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"patch": 0}, "patch is 0; it must be at least 1"),
            ({"variants": 0}, "variants is 0; it must be at least 1"),
            ({"square_px": 127}, "square_px is 127; it must be at least the target's side, 128"),
            ({"cache": Path("c"), "rescale": True}, "the cache keeps pairs of whole pictures"),
        ],
    )
    def test_what_does_not_fit(self, options: dict[str, object], message: str) -> None:
        with pytest.raises(OptionError, match=message):
            DataSettings(sources=(), **options)  # type: ignore[arg-type]
