"""Degraded pairs on disk: whole pictures with several low-quality versions, made once.

    pictures -> groups of 16 -> pairs-<key>.safetensors, memory-mapped, read patch by patch

The key of a file is a hash of everything that its content depends on: pictures that come or go
make only their own groups anew, and a making that was interrupted goes on where it stopped.

Shapes: H, W of the clean picture, h, w of the low-quality one, V variants (HWC, uint8).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from bimacosr.config.data import DataSettings
from bimacosr.data.augment import flip_and_turn, pad_to
from bimacosr.data.draws import Draws, seed_for
from bimacosr.data.halves import make_halves
from bimacosr.data.photos import Pixels, read_photo
from bimacosr.data.pixels import to_pixels, to_tensor
from bimacosr.data.threads import compute_alone
from bimacosr.errors import PictureError, ReadError
from bimacosr.io.atomic import atomic_file
from bimacosr.io.failures import reading
from bimacosr.io.parallel import in_order

__all__ = ["PairCache"]

_VERSION = 1
_GROUP = 16
_THREADS = 8


@dataclass(frozen=True, slots=True)
class _Entry:
    """One picture in a shard."""

    path: Path
    shard: Any
    number: int
    height: int
    width: int


class PairCache:
    """The pairs of some pictures, from disk; those that are not there yet are made.

    Args:
        pictures: Files of clean pictures.
        settings: How pairs are made; its `cache` is the folder.
        notice: Told in one sentence of each picture that is left out.
        progress: Told (done, total) pictures.

    Raises:
        ReadError: none of the pictures can be used.
        WriteError: the folder cannot be written; what was made before stays.
    """

    def __init__(
        self,
        pictures: Sequence[Path],
        settings: DataSettings,
        notice: Callable[[str], None],
        progress: Callable[[int, int], None],
    ) -> None:
        assert settings.cache is not None
        self.device = torch.device("cpu")
        self._settings = settings
        self._folder = settings.cache
        groups = [pictures[i : i + _GROUP] for i in range(0, len(pictures), _GROUP)]
        self._entries: list[_Entry] = []
        done = 0
        threads = min(_THREADS, os.cpu_count() or 1)
        with closing(in_order(self._shard, groups, threads, initializer=compute_alone)) as shards:
            for group, (entries, troubles) in zip(groups, shards, strict=True):
                for trouble in troubles:
                    notice(trouble)
                self._entries += entries
                done += len(group)
                progress(done, len(pictures))
        if not self._entries:
            raise ReadError("none of the pictures can be used for training; see the messages above")

    def __len__(self) -> int:
        return len(self._entries)

    def pair(self, number: int, draws: Draws) -> tuple[Tensor, Tensor]:
        """A random patch of a random variant of a picture, and its target, 3,H,W each."""
        entry, settings = self._entries[number], self._settings
        k, target = settings.low_quality.scale, settings.target_px
        variant = draws.one_of(range(settings.variants))
        top, left = (
            draws.one_of(range(side // k - settings.patch + 1))
            for side in (entry.height, entry.width)
        )
        large = slice(top * k, top * k + target), slice(left * k, left * k + target)
        small = slice(top, top + settings.patch), slice(left, left + settings.patch)
        rows, columns = large if settings.low_quality.resize_back else small
        hq = entry.shard.get_slice(f"hq.{entry.number}")[large]
        lq = entry.shard.get_slice(f"lq.{entry.number}")[variant : variant + 1, rows, columns][0]
        pair = tuple(torch.from_numpy(x).permute(2, 0, 1).float() / 255 for x in (lq, hq))
        lq, hq = flip_and_turn(pair, draws, flip=settings.flip, turn=settings.turn)
        return lq, hq

    def path(self, number: int) -> Path:
        """The file of a picture."""
        return self._entries[number].path

    def _shard(self, group: Sequence[Path]) -> tuple[list[_Entry], list[str]]:
        """What the shard of these pictures holds, and what was wrong with some of them."""
        facts, troubles = [], []
        for path in group:
            try:
                with reading(path):
                    facts.append((path, path.stat().st_size))
            except ReadError as error:
                troubles.append(str(error))
        file = self._folder / f"pairs-{self._key(facts)}.safetensors"
        shard: Any
        try:
            shard = safe_open(file, framework="numpy")
        except (OSError, SafetensorError):  # not made yet, or damaged
            self._make(file, facts)
            shard = safe_open(file, framework="numpy")
        metadata = shard.metadata() or {}
        troubles += json.loads(metadata.get("troubles", "[]"))
        return _entries(shard, [path for path, _ in facts]), troubles

    def _key(self, facts: Sequence[tuple[Path, int]]) -> str:
        settings = self._settings
        parts = {
            "version": _VERSION,
            "low_quality": asdict(settings.low_quality),
            "least_px": settings.target_px,
            "variants": settings.variants,
            "seed": settings.seed,
            "pictures": [(ascii(path.name), size) for path, size in facts],
        }
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()

    def _make(self, file: Path, facts: Sequence[tuple[Path, int]]) -> None:
        arrays: dict[str, np.ndarray] = {}
        troubles: list[str] = []
        for number, (path, size) in enumerate(facts):
            try:
                hq = read_photo(path, self._settings.limits)
            except PictureError as error:
                troubles.append(str(error))
                continue
            arrays |= self._pairs_of(hq, path.name, size, number)
        data = save(arrays, {"troubles": json.dumps(troubles)})
        with atomic_file(file) as target:
            target.write(data)

    def _pairs_of(self, hq: Pixels, name: str, size: int, number: int) -> dict[str, np.ndarray]:
        settings = self._settings
        k = settings.low_quality.scale
        hq = pad_to(hq, settings.target_px)
        hq = hq[: len(hq) // k * k, : hq.shape[1] // k * k]
        clean = to_tensor(hq)
        lows = []
        for variant in range(settings.variants):
            draws = Draws(seed_for("pair", settings.seed, name, size, variant))
            low, target = make_halves(clean, settings.low_quality, draws)
            lows.append(to_pixels(low))
        return {f"hq.{number}": to_pixels(target), f"lq.{number}": np.stack(lows)}


def _entries(shard: Any, paths: Sequence[Path]) -> list[_Entry]:
    names = set(shard.keys())
    entries = []
    for number, path in enumerate(paths):
        if f"hq.{number}" in names:
            height, width, _ = shard.get_slice(f"hq.{number}").get_shape()
            entries.append(_Entry(path, shard, number, height, width))
    return entries
