"""JPEG as arithmetic: near Pillow's, nearly nothing at quality 100, and worse step by step."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bimacosr.data.jpeg import jpeg


def photo(height: int = 96, width: int = 128) -> Tensor:
    """Soft shapes, an edge and some texture, in colour."""
    y, x = np.mgrid[:height, :width]
    red = 0.5 + 0.3 * np.sin(x / 17) * np.cos(y / 23)
    green = 0.4 + 0.4 * (x + 2 * y > 150) + 0.03 * np.sin(1.7 * x) * np.sin(1.3 * y)
    blue = 0.3 + 0.5 * y / height
    rng = np.random.default_rng(0)
    picture = np.stack([red, green, blue]) + 0.02 * rng.standard_normal((1, height, width))
    return (torch.from_numpy(picture).float().clamp(0, 1)[None] * 255).round() / 255


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * torch.log10((a - b).square().mean()))


def by_pillow(picture: Tensor, quality: int) -> Tensor:
    pixels = (picture[0].permute(1, 2, 0) * 255).round().byte().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    decoded = np.asarray(Image.open(file), np.float32) / 255
    return torch.from_numpy(decoded).permute(2, 0, 1)[None]


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 95])
def test_as_good_as_pillows_and_near_it(quality: int) -> None:
    picture = photo()
    ours, theirs = jpeg(picture, torch.tensor([float(quality)])), by_pillow(picture, quality)
    assert psnr(ours, picture) == pytest.approx(psnr(theirs, picture), abs=1.5)
    # they differ less from each other than each from the picture
    assert psnr(ours, theirs) > psnr(theirs, picture) + 1


def test_quality_100_is_nearly_nothing() -> None:
    picture = photo()
    grey = picture.mean(1, keepdim=True).expand(1, 3, -1, -1)
    done = jpeg(grey, torch.tensor([100.0]))  # without colour nothing is lost to 4:2:0
    assert (done - grey).abs().max() < 1 / 255
    assert psnr(done, grey) > 55


def test_worse_quality_is_worse() -> None:
    picture = photo()
    qualities = (5, 10, 20, 30, 49, 51, 70, 90, 100)
    found = [psnr(jpeg(picture, torch.tensor([float(q)])), picture) for q in qualities]
    assert found == sorted(found)
    assert found[0] < 27 < 33 < found[-1]


def test_each_picture_has_its_own_quality() -> None:
    batch = photo().repeat(2, 1, 1, 1)
    both = jpeg(batch, torch.tensor([20.0, 80.0]))
    for k, quality in enumerate((20.0, 80.0)):
        alone = jpeg(batch[k : k + 1], torch.tensor([quality]))
        torch.testing.assert_close(both[k : k + 1], alone, atol=1e-6, rtol=0)
    assert psnr(both[0], both[1]) < 40


def test_the_given_quality_is_not_changed() -> None:
    quality = torch.tensor([30.0])
    jpeg(photo(), quality)
    assert quality.tolist() == [30.0]


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (15, 17), (16, 16), (33, 7)])
def test_any_size(size: tuple[int, int]) -> None:
    picture = photo(*size)
    done = jpeg(picture, torch.tensor([90.0]))
    assert done.shape == picture.shape
    assert done.min() >= 0
    assert done.max() <= 1


def test_flat_blocks_are_quantized_in_their_mean_only() -> None:
    grey = torch.full((1, 3, 16, 16), 100 / 255)
    done = jpeg(grey, torch.tensor([50.0]))
    # 8 (100 - 128) = -224 is 14 steps of 16
    torch.testing.assert_close(done, grey, atol=1e-6, rtol=0)
    done = jpeg(torch.full((1, 3, 16, 16), 101 / 255), torch.tensor([50.0]))
    # 8 (101 - 128) = -216 is 13.5 steps; halves go to even: 14
    torch.testing.assert_close(done, grey, atol=1e-6, rtol=0)


def test_colour_is_halved() -> None:
    red = torch.zeros(1, 3, 16, 16)
    red[:, 0, ::2, ::2] = 1
    done = jpeg(red, torch.tensor([100.0]))
    cb = -0.168736 * done[:, 0] - 0.331264 * done[:, 1] + 0.5 * done[:, 2]
    inner = cb[:, ::2, ::2]
    assert (cb[:, 1::2, 1::2] - inner).abs().max() < 0.5  # clipped, but no longer one of four
    assert done[:, 0, 1::2, 1::2].mean() > 0.1
