"""The file of a teacher's pictures: where each lies, and going on after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from bimacosr.errors import ModelError
from bimacosr.train.targets import TargetCache


def crops() -> list[Tensor]:
    """Three crops of two sizes, two variants each, all different."""
    generator = torch.Generator().manual_seed(0)
    sizes = ((6, 5), (6, 5), (3, 4))
    return [torch.randint(256, (2, 3, *s), generator=generator, dtype=torch.uint8) for s in sizes]


def teacher(photos: Tensor) -> Tensor:
    return photos.repeat_interleave(4, 2).repeat_interleave(4, 3)


def ignore(done: int, wanted: int) -> None:
    del done, wanted


def test_every_variant_has_its_own_picture(tmp_path: Path) -> None:
    path = tmp_path / "targets.u8"
    reports: list[tuple[int, int]] = []
    TargetCache(path, crops()).extend(teacher, 4, lambda *r: reports.append(r))
    assert reports == [(2, 6), (3, 6), (5, 6), (6, 6)]  # a batch holds crops of one size
    cache = TargetCache(path, crops())
    assert cache.variants == 2
    for i, variants in enumerate(crops()):
        for v, crop in enumerate(variants):
            expected = crop.repeat_interleave(4, 1).repeat_interleave(4, 2)
            assert torch.equal(cache.target(i, v), expected)


@pytest.mark.parametrize("length", [0, 1, 1440, 3000, 5000])
def test_a_file_cut_off_anywhere_is_completed(tmp_path: Path, length: int) -> None:
    whole, cut = tmp_path / "whole.u8", tmp_path / "cut.u8"
    TargetCache(whole, crops()).extend(teacher, 2, ignore)
    cut.write_bytes(whole.read_bytes()[:length])
    cache = TargetCache(cut, crops())
    assert cache.variants == (length >= 3456)  # the first variants of all three crops
    cache.extend(teacher, 2, ignore)
    assert cut.read_bytes() == whole.read_bytes()


def test_targets_of_other_crops_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "targets.u8"
    TargetCache(path, crops()).extend(teacher, 2, ignore)
    with pytest.raises(ModelError, match="targets of other crops"):
        TargetCache(path, crops()[:2])
