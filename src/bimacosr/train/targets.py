"""Pictures of a teacher for every degraded crop, kept in one file that grows and is read in place.

The file holds nothing but pixels: 3,4H,4W uint8 for each 3,H,W crop, all first variants, then all
second ones, and so on. So where a picture lies follows from the shapes of the crops, and a file
that was cut off by a kill is continued after its last whole picture.

Shapes: V variants, H and W of a crop in low-quality pixels (CHW, RGB).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bimacosr.errors import ModelError

__all__ = ["TargetCache"]

_AREA = 16  # pixels of a target for each pixel of its crop


class TargetCache:
    """Targets of `crops`, V,3,H,W uint8 each, in the file `path`.

    Raises:
        ModelError: The file is longer than the targets of these crops: it belongs to others.
    """

    def __init__(self, path: Path, crops: list[Tensor]) -> None:
        self.path, self.crops = path, crops
        self._order = [(v, i) for v in range(max(map(len, crops))) for i in range(len(crops))]
        sizes = [_AREA * crops[i][0].numel() for _, i in self._order]
        self._ends = np.cumsum(sizes)
        length = path.stat().st_size if path.exists() else 0
        if length > self._ends[-1]:
            raise ModelError(f"{path} holds targets of other crops; give another folder")
        self.done = int(np.searchsorted(self._ends, length, side="right"))
        self._pixels: np.ndarray = (
            np.memmap(path, np.uint8, "r") if self.done else np.empty(0, np.uint8)
        )

    @property
    def variants(self) -> int:
        """Number of variants of which every crop has its target."""
        return self.done // len(self.crops)

    def target(self, crop: int, variant: int) -> Tensor:
        """3,4H,4W uint8: what the teacher makes of one crop's variant (< `variants`)."""
        end = self._ends[variant * len(self.crops) + crop]
        _, h, w = self.crops[crop].shape[1:]
        pixels = self._pixels[end - 3 * _AREA * h * w : end].reshape(3, 4 * h, 4 * w)
        return torch.from_numpy(pixels.copy())

    def extend(
        self,
        teacher: Callable[[Tensor], Tensor],
        batch: int,
        report: Callable[[int, int], object],
    ) -> None:
        """Make the targets that are missing.

        Args:
            teacher: B,3,H,W in [0, 1] to B,3,4H,4W about [0, 1].
            batch: Most crops at once.
            report: Called with how many targets there are, and shall be, after each batch.
        """
        with self.path.open("ab") as file:
            file.truncate(int(self._ends[self.done - 1]) if self.done else 0)
            while self.done < len(self._order):
                lows = self._next_alike(batch)
                pictures = teacher(torch.stack(lows).float() / 255)
                pixels = (pictures.float().clamp(0, 1) * 255).round().byte().contiguous()
                file.write(pixels.numpy().tobytes())
                file.flush()
                self.done += len(lows)
                report(self.done, len(self._order))

    def _next_alike(self, most: int) -> list[Tensor]:
        """The next crops in order, as far as they have one shape."""
        lows: list[Tensor] = []
        for v, i in self._order[self.done : self.done + most]:
            low = self.crops[i][v]
            if lows and low.shape != lows[0].shape:
                break
            lows.append(low)
        return lows
