"""Pairs on disk: made once, made anew where something changed, never trusted when damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bimacosr.config.data import DataSettings, low_quality
from bimacosr.data import cache
from bimacosr.data.cache import PairCache
from bimacosr.data.draws import Draws
from bimacosr.data.photos import find_pictures
from bimacosr.errors import ReadError, WriteError
from tests.unit.data.conftest import WritePhoto


@pytest.fixture
def settings(
    write_photo: WritePhoto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> DataSettings:
    monkeypatch.setattr(cache, "_GROUP", 2)
    for n in range(5):
        write_photo(f"photos/{n}.png", seed=n, width=66, height=59)
    return DataSettings(
        sources=(tmp_path / "photos",), patch=12, cache=tmp_path / "cache", variants=2
    )


def opened(settings: DataSettings, told: list[str] | None = None) -> PairCache:
    notice = (lambda _: None) if told is None else told.append
    return PairCache(find_pictures(settings.sources), settings, notice, lambda done, total: None)


def shards(settings: DataSettings) -> dict[str, bytes]:
    assert settings.cache is not None
    return {path.name: path.read_bytes() for path in settings.cache.iterdir()}


def times(settings: DataSettings) -> dict[str, int]:
    assert settings.cache is not None
    return {path.name: path.stat().st_mtime_ns for path in settings.cache.iterdir()}


def test_it_is_made_once(settings: DataSettings) -> None:
    opened(settings)
    before = times(settings)
    assert len(before) == 3
    assert len(opened(settings)) == 5
    assert times(settings) == before


def test_it_is_the_same_wherever_it_is_made(settings: DataSettings, tmp_path: Path) -> None:
    opened(settings)
    elsewhere = replace(settings, cache=tmp_path / "other")
    opened(elsewhere)
    assert shards(settings) == shards(elsewhere)


def test_progress_counts_pictures(settings: DataSettings) -> None:
    seen: list[tuple[int, int]] = []
    pictures = find_pictures(settings.sources)
    PairCache(pictures, settings, lambda _: None, lambda done, total: seen.append((done, total)))
    assert seen == [(2, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"variants": 3}, {"low_quality": low_quality("mild")}, {"patch": 20}],
)
def test_other_settings_make_other_files(settings: DataSettings, change: dict[str, object]) -> None:
    opened(settings)
    before = shards(settings)
    opened(replace(settings, **change))  # type: ignore[arg-type]
    after = shards(settings)
    assert len(after) == 6
    assert before.items() <= after.items()


def test_a_new_picture_makes_only_its_own_group(
    settings: DataSettings, write_photo: WritePhoto
) -> None:
    opened(settings)
    before = times(settings)
    write_photo("photos/9.png", seed=9)
    assert len(opened(settings)) == 6
    after = times(settings)
    assert len(after) == 4
    assert before.items() <= after.items()


def test_all_variants_are_met(settings: DataSettings) -> None:
    settings = replace(settings, flip=False, turn=False, patch=14)  # the whole height, 3 places
    pairs = opened(settings)
    found = {pairs.pair(0, Draws(seed))[0].numpy().tobytes() for seed in range(60)}
    assert len(found) == 3 * settings.variants


def test_enlarged_halves(settings: DataSettings) -> None:
    quality = replace(low_quality("bicubic"), resize_back=True)
    lq, hq = opened(replace(settings, low_quality=quality)).pair(0, Draws(0))
    assert lq.shape == hq.shape == (3, 48, 48)
    assert (lq - hq).square().mean() < (lq.roll(4, 2) - hq).square().mean()


def test_a_shard_cut_short_is_made_anew(settings: DataSettings) -> None:
    opened(settings)
    whole = shards(settings)
    assert settings.cache is not None
    for path in settings.cache.iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    assert len(opened(settings)) == 5
    assert shards(settings) == whole


def test_damaged_pictures_are_told_at_every_opening(settings: DataSettings) -> None:
    (settings.sources[0] / "1.png").write_bytes(b"no picture")
    for _ in range(2):
        told: list[str] = []
        assert len(opened(settings, told)) == 4
        assert len(told) == 1
        assert "1.png" in told[0]


def test_nothing_but_damaged_pictures(settings: DataSettings) -> None:
    for path in settings.sources[0].iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(ReadError, match="none of the pictures can be used for training"):
        opened(settings)


def test_what_was_made_before_the_disk_was_full_stays(
    settings: DataSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_make, left = PairCache._make, [2]

    def make(self: PairCache, file: Path, facts: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise WriteError(f"the disk is full while writing {file}")
        true_make(self, file, facts)  # type: ignore[arg-type]

    monkeypatch.setattr(PairCache, "_make", make)
    with pytest.raises(WriteError, match="the disk is full"):
        opened(settings)
    made = times(settings)
    assert len(made) == 2
    monkeypatch.setattr(PairCache, "_make", true_make)
    assert len(opened(settings)) == 5
    assert made.items() <= times(settings).items()


def test_the_target_is_what_was_degraded(settings: DataSettings) -> None:
    quality = replace(low_quality("bicubic"), sharpen=True)
    plain = opened(replace(settings, low_quality=low_quality("bicubic"))).pair(0, Draws(0))
    sharp = opened(replace(settings, low_quality=quality)).pair(0, Draws(0))
    assert not torch.equal(plain[1], sharp[1])
    assert not torch.equal(plain[0], sharp[0])
