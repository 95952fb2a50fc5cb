"""Pairs as files: a function of seed and name, kept when they are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bimacosr.config.data import low_quality
from bimacosr.data import pair_folder as module
from bimacosr.data.pair_folder import PairWriter, write_pairs
from bimacosr.errors import OptionError, WriteError
from tests.unit.data.conftest import WritePhoto, pixels_of

MIXED = low_quality("mixed")


@pytest.fixture
def pictures(write_photo: WritePhoto) -> list[tuple[Path, Path]]:
    names = [f"{n}.png" for n in range(4)] + ["deep/0.png"]
    sizes = [(64, 48), (66, 51), (80, 64), (64, 64), (64, 48)]
    return [
        (write_photo(f"hr/{name}", seed=n, width=w, height=h), Path(name))
        for n, (name, (w, h)) in enumerate(zip(names, sizes, strict=True))
    ]


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")
    }


def test_both_halves_have_one_name_and_fitting_sizes(
    pictures: list[tuple[Path, Path]], tmp_path: Path
) -> None:
    assert write_pairs(pictures, PairWriter(folder=tmp_path / "o", settings=MIXED)) == (5, 0)
    assert len(content(tmp_path / "o")) == 10
    for source, name in pictures:
        lq, hq = (pixels_of(tmp_path / "o" / half / name) for half in ("LR", "HR"))
        assert hq.shape == (4 * lq.shape[0], 4 * lq.shape[1], 3)
        assert np.array_equal(hq, pixels_of(source)[: hq.shape[0], : hq.shape[1]])


def test_order_company_and_threads_do_not_matter(
    pictures: list[tuple[Path, Path]], tmp_path: Path
) -> None:
    write_pairs(pictures, PairWriter(folder=tmp_path / "a", settings=MIXED), threads=3)
    write_pairs(pictures[::-1], PairWriter(folder=tmp_path / "b", settings=MIXED))
    write_pairs(pictures[:1], PairWriter(folder=tmp_path / "c", settings=MIXED))
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert content(tmp_path / "c").items() <= content(tmp_path / "a").items()


def test_seeds_names_and_variants_differ(
    pictures: list[tuple[Path, Path]], write_photo: WritePhoto, tmp_path: Path
) -> None:
    twin = write_photo("hr/twin.png", seed=0, width=64, height=48)
    pair = [pictures[0], (twin, Path("twin.png"))]
    for seed in (0, 1):
        writer = PairWriter(folder=tmp_path / str(seed), settings=MIXED, seed=seed, variants=3)
        write_pairs(pair, writer)
    made = [content(tmp_path / str(seed)) for seed in (0, 1)]
    lows = [data for c in made for name, data in c.items() if name.startswith("LR")]
    assert len(lows) == len(set(lows)) == 2 * 2 * 3
    assert made[0]["HR/0.png"] == made[0]["HR/twin.png"]


def test_what_is_there_is_kept(pictures: list[tuple[Path, Path]], tmp_path: Path) -> None:
    writer = PairWriter(folder=tmp_path / "o", settings=MIXED)
    write_pairs(pictures, writer)
    whole = content(tmp_path / "o")
    (tmp_path / "o/LR/1.png").write_bytes(b"mine")
    (tmp_path / "o/LR/2.png").unlink()
    (tmp_path / "o/HR/3.png").unlink()
    assert write_pairs(pictures, writer) == (2, 3)
    assert content(tmp_path / "o") == whole | {"LR/1.png": b"mine"}
    more = PairWriter(folder=tmp_path / "o", settings=MIXED, variants=2)
    assert write_pairs(pictures, more) == (5, 0)
    assert content(tmp_path / "o").items() > whole.items() - {("LR/1.png", whole["LR/1.png"])}


def test_bad_pictures_are_told_and_the_others_go_on(
    pictures: list[tuple[Path, Path]], write_photo: WritePhoto, tmp_path: Path
) -> None:
    pictures[1][0].write_bytes(b"no picture")
    tiny = (write_photo("tiny.png", width=8, height=8), Path("tiny.png"))
    jpeg = (write_photo("0.jpg"), Path("0.jpg"))
    told: list[str] = []
    writer = PairWriter(folder=tmp_path / "o", settings=low_quality("realesrgan"))
    result = write_pairs([*pictures, tiny, jpeg], writer, failed=told.append, threads=2)
    assert result == (4, 0)
    assert len(told) == 3
    assert "would both be 0.png; rename one of them" in told[0]
    assert "1.png" in told[1]
    assert "tiny.png cannot be degraded: " in told[2]


def test_a_full_disk_ends_it_and_what_was_done_stays(
    pictures: list[tuple[Path, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_save, left = module._save, [3]

    def save(path: Path, data: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise WriteError(f"the disk is full while writing {path}")
        true_save(path, data)

    monkeypatch.setattr(module, "_save", save)
    writer = PairWriter(folder=tmp_path / "o", settings=MIXED)
    with pytest.raises(WriteError, match="the disk is full"):
        write_pairs(pictures, writer)
    done = content(tmp_path / "o")
    assert len(done) == 3
    monkeypatch.undo()
    write_pairs(pictures, writer)
    assert done.items() <= content(tmp_path / "o").items()
    assert len(content(tmp_path / "o")) == 10


def test_other_settings_want_another_folder(
    pictures: list[tuple[Path, Path]], tmp_path: Path
) -> None:
    write_pairs(pictures, PairWriter(folder=tmp_path / "o", settings=MIXED))
    with pytest.raises(OptionError, match="was made with another seed; give the settings in its"):
        write_pairs(pictures, PairWriter(folder=tmp_path / "o", settings=MIXED, seed=1))


def test_no_variants(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="variants is 0; it must be at least 1"):
        PairWriter(folder=tmp_path, settings=MIXED, variants=0)
