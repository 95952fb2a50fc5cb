"""Grid peaks: the faint regular pattern that a pixel shuffle prints on its pictures, in dB.

A network that enlarges four times by shuffling pixels tends to a pattern with a period of 4 or 2
pixels, in brightness or colour; eyes see it on flat areas, PSNR and LPIPS hardly do. A peak is the
power at such a period less the power beside it. Photographs: lines about 0, lattices 2 to 5 dB.
Patterns of lower frequency escape. numpy only.

Shapes: H height, W width; N blocks or runs of 64 pixels; rgb is HW3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bimacosr.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "GridPeaks",
    "PicturePeaks",
    "colour_lattice_peaks",
    "each_picture",
    "grid_peaks",
    "lattice_peaks",
    "line_peaks",
    "picture_peaks",
    "summarize",
]

Floats = NDArray[np.float64]

_SIDE_PX = 64
_HANN = np.hanning(_SIDE_PX + 1)[:_SIDE_PX]
_PERIOD_4, _PERIOD_2 = _SIDE_PX // 4, _SIDE_PX // 2  # their bins in a spectrum
_LATTICE = tuple((u, v) for u in (0, 16, 32) for v in (0, 16, 32) if u or v)
_RING = tuple((i, j) for i in range(-5, 6) for j in range(-5, 6) if max(abs(i), abs(j)) >= 3)
_GRAY = (0.299, 0.587, 0.114)
_FLOOR = 1e-9  # power of a flat picture


@dataclass(frozen=True, kw_only=True, slots=True)
class PicturePeaks:
    """The peaks of one picture, dB."""

    lines: Floats
    """Periods 4 and 2 along rows, then along columns, of the luminance: 4 values."""
    lattice: Floats
    """The 8 frequencies with periods 4 or 2 down and across, of the luminance."""
    colour_lattice: Floats
    """The same of the stronger of B - Y and R - Y."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GridPeaks:
    """The worst peak of a set of pictures: at each frequency the median over them, dB."""

    lines: float
    lattice: float
    colour_lattice: float
    pictures: int
    """How many were measured."""


def grid_peaks(pictures: Iterable[NDArray[Any]]) -> GridPeaks:
    """Measure a set of pictures: HW3 RGB on the scale 0..255, 64 px a side at least.

    Raises:
        OptionError: There is no picture, or what `picture_peaks` raises.
    """
    return summarize([picture_peaks(picture) for picture in pictures])


def picture_peaks(rgb: NDArray[Any]) -> PicturePeaks:
    """Measure one picture: HW3 RGB on the scale 0..255, H and W at least 64.

    Raises:
        OptionError: "grid peaks need a picture of HxWx3, 64 px a side at least, not 32x32x3".
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or min(rgb.shape[:2]) < _SIDE_PX:
        shape = "x".join(map(str, rgb.shape))
        raise OptionError(
            f"grid peaks need a picture of HxWx3, {_SIDE_PX} px a side at least, not {shape}"
        )
    return PicturePeaks(
        lines=line_peaks(rgb), lattice=lattice_peaks(rgb), colour_lattice=colour_lattice_peaks(rgb)
    )


def line_peaks(rgb: NDArray[Any]) -> Floats:
    """Periods 4 and 2 along rows, then along columns, of HW3 RGB's luminance: 4 values, dB."""
    y = rgb @ np.array(_GRAY)
    return np.concatenate([_line_peaks(y), _line_peaks(y.T)])


def lattice_peaks(rgb: NDArray[Any]) -> Floats:
    """The 8 frequencies with periods 4 or 2 down and across, of HW3 RGB's luminance, dB."""
    return _lattice_peaks(rgb @ np.array(_GRAY))


def colour_lattice_peaks(rgb: NDArray[Any]) -> Floats:
    """The same 8 of the stronger of B - Y and R - Y."""
    y = rgb @ np.array(_GRAY)
    red, blue = (_lattice_peaks(rgb[..., channel] - y) for channel in (0, 2))
    return np.maximum(red, blue)


def each_picture(peaks: Callable[[NDArray[Any]], Floats]) -> Callable[[Tensor], Tensor]:
    """One of the functions above for a batch: B3HW RGB in [0, 1] to BK values, dB.

    A picture with a side under 64 px has no peaks: nan.
    """
    import torch  # here alone: peaks of arrays need none

    def measure(pictures: Tensor) -> Tensor:
        arrays = (pictures.double() * 255).round().permute(0, 2, 3, 1).cpu().numpy()
        if min(arrays.shape[1:3]) < _SIDE_PX:
            parts = len(peaks(np.zeros((_SIDE_PX, _SIDE_PX, 3))))
            return torch.full((len(arrays), parts), torch.nan, dtype=torch.float64)
        return torch.from_numpy(np.stack([peaks(rgb) for rgb in arrays]))

    return measure


def summarize(peaks: list[PicturePeaks]) -> GridPeaks:
    """Take the median over pictures at each frequency, then the worst frequency.

    Raises:
        OptionError: `peaks` is empty.
    """
    if not peaks:
        raise OptionError("grid peaks need one picture at least")

    def worst(columns: list[Floats]) -> float:
        return float(np.median(columns, 0).max())

    return GridPeaks(
        lines=worst([p.lines for p in peaks]),
        lattice=worst([p.lattice for p in peaks]),
        colour_lattice=worst([p.colour_lattice for p in peaks]),
        pictures=len(peaks),
    )


def _line_peaks(plane: Floats) -> Floats:
    """Peaks of the periods 4 and 2 in the mean spectrum of runs along the rows."""
    runs = plane[:, : plane.shape[1] // _SIDE_PX * _SIDE_PX].reshape(-1, _SIDE_PX)
    runs = (runs - runs.mean(1, keepdims=True)) * _HANN
    power = _decibels(np.fft.rfft(runs, axis=1))
    beside_4, beside_2 = power[[12, 13, 19, 20]].mean(), power[[28, 29]].mean()
    return np.array([power[_PERIOD_4] - beside_4, power[_PERIOD_2] - beside_2])


def _lattice_peaks(plane: Floats) -> Floats:
    """Peaks of the 8 lattice frequencies over bins 3 to 5 away, mean spectrum of blocks."""
    rows, columns = (side // _SIDE_PX for side in plane.shape)
    blocks = plane[: rows * _SIDE_PX, : columns * _SIDE_PX]
    blocks = blocks.reshape(rows, _SIDE_PX, columns, _SIDE_PX).swapaxes(1, 2)
    blocks = blocks.reshape(-1, _SIDE_PX, _SIDE_PX)
    blocks = (blocks - blocks.mean((1, 2), keepdims=True)) * np.outer(_HANN, _HANN)
    power = _decibels(np.fft.fft2(blocks))
    ring = np.array(_RING)
    peaks = []
    for u, v in _LATTICE:
        down, across = (np.array([u, v]) + ring).T % _SIDE_PX
        peaks.append(power[u, v] - power[down, across].mean())
    return np.array(peaks)


def _decibels(spectra: NDArray[np.complex128]) -> Floats:
    """Mean power over the first axis, dB."""
    power: Floats = (np.abs(spectra) ** 2).mean(0)
    decibels: Floats = 10 * np.log10(power + _FLOOR)
    return decibels
