"""The API: what goes in comes out, larger and of the same kind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bimacosr
from bimacosr.errors import BackendError, ModelError, OptionError, ReadError, WriteError

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def resolver() -> bimacosr.SuperResolver:
    return bimacosr.load(tile=32)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "I;16"])
def test_an_image_keeps_its_mode(resolver: bimacosr.SuperResolver, mode: str) -> None:
    image = Image.new(mode, (9, 7), 30000 if mode == "I;16" else 90)
    large = resolver(image)
    assert isinstance(large, Image.Image)
    assert (large.mode, large.size) == (mode, (36, 28))


@pytest.mark.parametrize(
    ("mode", "becomes"), [("P", "RGB"), ("1", "L"), ("CMYK", "RGB"), ("YCbCr", "RGB")]
)
def test_other_modes_become_the_nearest(
    resolver: bimacosr.SuperResolver, mode: str, becomes: str
) -> None:
    assert resolver(Image.new(mode, (5, 5))).mode == becomes


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 2), (8, 6, 3), (8, 6, 4)])
def test_an_array_keeps_type_and_axes(
    resolver: bimacosr.SuperResolver, kind: type, shape: tuple[int, ...]
) -> None:
    array = RNG.random(shape)
    if np.issubdtype(kind, np.integer):
        array = array * np.iinfo(kind).max
    large = resolver(array.astype(kind))
    assert large.dtype == kind
    assert large.shape == (32, 24, *shape[2:])


def test_a_path_gives_the_path_that_was_written(
    resolver: bimacosr.SuperResolver, tmp_path: Path
) -> None:
    Image.new("RGB", (8, 8), "green").save(tmp_path / "a.png")
    assert resolver(tmp_path / "a.png") == tmp_path / "a_x4.png"
    assert resolver(str(tmp_path / "a.png"), out=tmp_path / "b.tif") == tmp_path / "b.tif"
    with Image.open(tmp_path / "b.tif") as large:
        assert large.size == (32, 32)


@pytest.mark.parametrize("out", ["a.png", "link.png"])
def test_the_input_is_never_replaced(
    resolver: bimacosr.SuperResolver, tmp_path: Path, out: str
) -> None:
    Image.new("RGB", (8, 8), "green").save(tmp_path / "a.png")
    (tmp_path / "link.png").symlink_to("a.png")
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(OptionError, match="would replace it"):
        resolver(tmp_path / "a.png", out=tmp_path / out)
    assert (tmp_path / "a.png").read_bytes() == before


def test_a_result_that_cannot_be_written_is_not_computed(
    resolver: bimacosr.SuperResolver, tmp_path: Path
) -> None:
    Image.new("RGB", (5000, 1), "green").save(tmp_path / "a.png")
    seen: list[int] = []
    for out, error in {"a.gif": OptionError, "a.webp": WriteError}.items():
        with pytest.raises(error):
            resolver(tmp_path / "a.png", out=tmp_path / out, progress=lambda n, _: seen.append(n))
    assert seen == []


def test_array_image_and_file_give_the_same_pixels(
    resolver: bimacosr.SuperResolver, tmp_path: Path
) -> None:
    array = RNG.integers(0, 256, (20, 30, 3), np.uint8)
    image = Image.fromarray(array)
    image.save(tmp_path / "a.png")
    large = resolver(array)
    assert np.array_equal(large, np.asarray(resolver(image)))
    assert np.array_equal(large, np.asarray(Image.open(resolver(tmp_path / "a.png"))))


def test_options_of_a_call(resolver: bimacosr.SuperResolver) -> None:
    seen: list[tuple[int, int]] = []
    image = Image.new("RGB", (64, 32), "red")
    large = resolver(image, scale=2, progress=lambda done, total: seen.append((done, total)))
    assert large.size == (128, 64)
    assert seen == [(1, 2), (2, 2)]


def test_two_threads_do_not_disturb_each_other(resolver: bimacosr.SuperResolver) -> None:
    arrays = [RNG.integers(0, 256, (40, 50, 3), np.uint8) for _ in range(4)]
    alone = [resolver(array) for array in arrays]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(resolver, arrays))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.zeros((4, 4, 5), np.uint8), "H x W x 1, 2, 3 or 4"),
        (np.zeros((0, 4), np.uint8), "0 x 4"),
        (np.zeros((4, 4), np.int64), "int64"),
        (np.full((4, 4), 2.0), "in \\[0, 1\\]"),
        (np.full((4, 4), np.nan), "nan"),
        (Image.new("F", (4, 4)), "mode F"),
        (7, "a int is no picture"),
    ],
)
def test_what_is_no_picture_is_refused(
    resolver: bimacosr.SuperResolver, bad: object, words: str
) -> None:
    with pytest.raises(ReadError, match=words):
        resolver(bad)  # type: ignore[call-overload]


def test_damaged_files_are_refused(resolver: bimacosr.SuperResolver, tmp_path: Path) -> None:
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-2000])
    with (
        Image.open(tmp_path / "a.jpg") as image,
        pytest.raises(ReadError, match="cannot be decoded"),
    ):
        resolver(image)
    with pytest.raises(ReadError, match="'' names no picture"):
        resolver("")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tile": "64"}, "tile is '64'; it must be a whole number"),
        ({"seed": 1.5}, "seed is 1.5; it must be a whole number"),
        ({"threads": None}, "threads is None; it must be a whole number"),
        ({"width": 3.5}, "width is 3.5; it must be a whole number"),
        ({"scale": "2"}, "scale is '2'; it must be a number"),
        ({"scale": True}, "scale is True; it must be a number"),
    ],
)
def test_options_of_a_wrong_type(options: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        bimacosr.load(**options)  # type: ignore[arg-type]


def test_numbers_of_numpy_are_options(resolver: bimacosr.SuperResolver) -> None:
    small = np.zeros((4, 4), np.uint8)
    assert resolver(small, tile=np.int64(64), scale=np.float32(2)).shape == (8, 8)


def test_wrong_names_are_refused(resolver: bimacosr.SuperResolver, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model 'x'"):
        bimacosr.load("x")
    with pytest.raises(OptionError, match="there is no backend 'x'"):
        bimacosr.load(backend="x")
    with pytest.raises(BackendError, match="toaster"):
        bimacosr.load(device="toaster")
    with pytest.raises(OptionError, match="the options are seed, tile"):
        bimacosr.load(colour=3)
    with pytest.raises(OptionError, match="out is only for a path"):
        resolver(Image.new("RGB", (4, 4)), out=tmp_path / "a.png")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(ModelError, match="damaged or no packed model"):
        bimacosr.load(tmp_path / "text.safetensors")
