"""Crops: where they lie, and what makes one flat, blurry or a copy."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from bimacosr.config.data import PrepareSettings
from bimacosr.data.crops import crops_of, flat_share, likeness, luma, places, sharpness
from bimacosr.errors import OptionError
from tests.unit.data.conftest import photo_pixels


def blurred(pixels: np.ndarray, sigma: float) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma)))


class TestPlaces:
    def test_side_by_side_in_the_middle(self) -> None:
        assert list(places(70, 100, 30, 30)) == [
            (5, 5),
            (5, 35),
            (5, 65),
            (35, 5),
            (35, 35),
            (35, 65),
        ]

    def test_overlapping(self) -> None:
        assert list(places(30, 51, 30, 10)) == [(0, 0), (0, 10), (0, 20)]

    def test_too_small(self) -> None:
        assert list(places(29, 100, 30, 30)) == []

    @pytest.mark.parametrize("width", range(64, 200, 7))
    def test_all_inside(self, width: int) -> None:
        assert all(0 <= left <= width - 64 for _, left in places(64, width, 64, 9))


class TestSharpness:
    def test_a_ramp_has_no_detail(self) -> None:
        assert sharpness(np.tile(np.arange(64, dtype=np.float32), (64, 1))) == 0

    def test_one_colour(self) -> None:
        assert sharpness(np.full((64, 64), 7, np.float32)) == 0

    def test_white_noise(self) -> None:
        noise = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
        assert sharpness(noise) == pytest.approx(20**0.5, rel=0.02)

    def test_blur_lowers_it_and_contrast_does_not(self) -> None:
        sharp = luma(photo_pixels(0, 128, 128))
        values = [sharpness(luma(blurred(photo_pixels(0, 128, 128), s))) for s in (0, 0.7, 1.5)]
        assert values == sorted(values, reverse=True)
        assert values[0] > 1.3 > values[2]
        assert sharpness(sharp * 0.1 + 30) == pytest.approx(sharpness(sharp), rel=1e-3)


class TestFlatShare:
    def test_by_the_block(self) -> None:
        grey = np.full((64, 64), 100, np.float32)
        assert flat_share(grey) == 1
        grey[:16, :32] += np.random.default_rng(0).normal(0, 10, (16, 32))
        assert flat_share(grey) == 14 / 16

    def test_grain_of_less_than_3_is_flat(self) -> None:
        grain = np.random.default_rng(0).normal(0, 1, (64, 64)).astype(np.float32)
        assert flat_share(100 + 2 * grain) == 1
        assert flat_share(100 + 5 * grain) == 0


class TestLikeness:
    def distance(self, a: np.ndarray, b: np.ndarray) -> int:
        return (likeness(a) ^ likeness(b)).bit_count()

    def test_another_size_and_quality(self) -> None:
        pixels = photo_pixels(0, 128, 128)
        file = io.BytesIO()
        Image.fromarray(pixels).resize((77, 77)).save(file, "JPEG", quality=60)
        assert self.distance(pixels, np.asarray(Image.open(file))) <= PrepareSettings().same_bits

    def test_another_picture(self) -> None:
        distances = [
            self.distance(photo_pixels(0, 96, 96), photo_pixels(n, 96, 96)) for n in range(1, 30)
        ]
        assert min(distances) > PrepareSettings().same_bits

    def test_it_has_128_bits(self) -> None:
        pixels = np.add.outer(np.arange(90), np.arange(90)).astype(np.uint8)[..., None].repeat(3, 2)
        assert likeness(pixels) == 2**128 - 1
        assert likeness(np.ascontiguousarray(pixels[::-1, ::-1])) == 0


class TestCrops:
    def photo(self) -> np.ndarray:
        """A sharp crop, a flat one, a blurry one."""
        sharp, blurry = photo_pixels(0, 64, 64), blurred(photo_pixels(1, 64, 64), 2)
        return np.concatenate([sharp, np.full_like(sharp, 90), blurry], axis=1)

    def test_flat_and_blurry_ones_are_left_out(self) -> None:
        (crop,), flat, blurry = crops_of(self.photo(), PrepareSettings(size_px=64, stride_px=64))
        assert (flat, blurry) == (1, 1)
        assert (crop.top, crop.left) == (0, 0)
        assert np.array_equal(crop.pixels, self.photo()[:, :64])

    def test_thresholds_that_take_everything(self) -> None:
        settings = PrepareSettings(size_px=64, stride_px=64, min_sharpness=0, max_flat=1)
        crops, flat, blurry = crops_of(self.photo(), settings)
        assert (len(crops), flat, blurry) == (3, 0, 0)

    def test_only_the_sharpest(self) -> None:
        settings = PrepareSettings(
            size_px=64, stride_px=64, min_sharpness=0, max_flat=1, per_photo=2
        )
        crops, _, _ = crops_of(self.photo(), settings)
        assert [crop.left for crop in crops] == [0, 128]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size_px": 32}, "size_px is 32; it must be from 64 to 4096"),
        ({"size_px": 66}, "size_px is 66; it must be a multiple of the scale, 4"),
        ({"stride_px": 0}, "stride_px is 0"),
        ({"reduce": 0.5}, "reduce is 0.5; it must be from 1 to 64"),
        ({"min_sharpness": float("nan")}, "min_sharpness is nan"),
        ({"max_flat": 1.5}, "max_flat is 1.5; it must be from 0 to 1"),
        ({"same_bits": -1}, "same_bits is -1"),
        ({"per_photo": -1}, "per_photo is -1"),
        ({"val_share": 1}, "val_share is 1; it must be from 0 to 0.9"),
    ],
)
def test_settings_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        PrepareSettings(**options)  # type: ignore[arg-type]
