"""Pairs degraded anew for every sample, on the device of the training.

    picture -> square (reduced, or continued by its reflection) -> flip, turn -> halves -> patch

Shapes: H and W in pixels (CHW), values in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor

from bimacosr.config.data import DataSettings
from bimacosr.data.augment import area_resize, flip_and_turn, random_square
from bimacosr.data.draws import Draws
from bimacosr.data.halves import make_halves
from bimacosr.data.pairs import crop_pair
from bimacosr.data.photos import Pixels, read_photo
from bimacosr.data.pixels import to_tensor
from bimacosr.errors import PictureError, ReadError

__all__ = ["FreshPairs"]

_AROUND_PX = 2 * 16  # on both sides of the target together


class FreshPairs:
    """Pairs that are made when they are asked for; safe to ask from several threads.

    Args:
        pictures: Files of clean pictures.
        settings: How pairs are made.
        device: Where they are.
        notice: Told in one sentence of each picture that cannot be read; the next takes its place.
    """

    def __init__(
        self,
        pictures: Sequence[Path],
        settings: DataSettings,
        device: torch.device,
        notice: Callable[[str], None],
    ) -> None:
        self.device = device
        self._pictures, self._settings, self._notice = pictures, settings, notice
        self._held: dict[int, Pixels] = {}
        self._room = settings.memory_mb * 10**6
        self._bad: set[int] = set()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._pictures)

    def path(self, number: int) -> Path:
        """The file of a picture, or of the one that takes its place as far as is known."""
        with self._lock:
            after = (at % len(self) for at in range(number, number + len(self)))
            return self._pictures[next((at for at in after if at not in self._bad), number)]

    def pair(self, number: int, draws: Draws) -> tuple[Tensor, Tensor]:
        """A random patch of a picture, degraded, and its target, 3,H,W each.

        Raises:
            ReadError: no picture can be read.
            OptionError: the patch is too small for the degradation.
        """
        settings = self._settings
        pixels = self._readable(number)
        square = random_square(pixels, self._side(pixels), draws)
        hq = to_tensor(square, self.device)
        if settings.rescale and hq.shape[-1] > settings.target_px:
            hq = area_resize(hq, settings.target_px)
        (hq,) = flip_and_turn((hq,), draws, flip=settings.flip, turn=settings.turn)
        lq, target = make_halves(hq, settings.low_quality, draws)
        lq, target = crop_pair(lq, target, settings.target_px, draws)
        return lq[0], target[0]

    def _side(self, pixels: Pixels) -> int:
        """Side of the square that is taken from this picture."""
        settings = self._settings
        target, k = settings.target_px, settings.low_quality.scale
        shorter: int = min(pixels.shape[:2])
        if settings.rescale:
            return max(shorter, target)
        if settings.square_px is not None:
            return settings.square_px // k * k
        return max(target, min(target + _AROUND_PX, shorter) // k * k)

    def _readable(self, number: int) -> Pixels:
        """The picture of that number, or the first after it that can be read."""
        for at in range(number, number + len(self)):
            pixels = self._read(at % len(self))
            if pixels is not None:
                return pixels
        raise ReadError("none of the pictures can be read any more; see the messages above")

    def _read(self, number: int) -> Pixels | None:
        with self._lock:
            if number in self._bad:
                return None
            if number in self._held:
                return self._held[number]
        try:
            pixels = read_photo(self._pictures[number], self._settings.limits)
        except PictureError as error:
            with self._lock:
                known = number in self._bad
                self._bad.add(number)
            if not known:
                self._notice(str(error))
            return None
        with self._lock:
            if number not in self._held and pixels.nbytes <= self._room:
                self._held[number] = pixels
                self._room -= pixels.nbytes
        return pixels
