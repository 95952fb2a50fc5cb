"""The paper family's backend: the way of a tile, its noise, samplers, padding, and tilings."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimacosr import noise
from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.config.upscale import SamplingSettings, UpscaleSettings
from bimacosr.diffusion.process import make_process
from bimacosr.diffusion.samplers import find_sampler
from bimacosr.errors import BackendError, LimitError, OptionError
from bimacosr.io.picture import Picture
from bimacosr.reference.latent import LatentBackend, NoiseStream, padded
from bimacosr.tiling import Feathered, Official
from bimacosr.upscale import enlarge
from tests import paper


class Counting(nn.Module):
    """The small network, which notes the steps that it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = paper.unet()
        self.asked: list[int] = []

    def forward(self, z: Tensor, steps: Tensor, lq: Tensor) -> Tensor:
        self.asked.append(int(steps[0]))
        result: Tensor = self.inner(z, steps, lq)
        return result


def backend(
    diffusion: DiffusionSettings | None = None, network: nn.Module | None = None, **sampling: Any
) -> LatentBackend:
    return LatentBackend(
        network or paper.unet(),
        paper.autoencoder(),
        diffusion=diffusion or DiffusionSettings(),
        sampling=SamplingSettings(**sampling),
        multiple=16,
    )


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).random((height, width, 3), np.float32)


def by_hand(lq: np.ndarray, sampler: str, row: int, column: int, seed: int) -> np.ndarray:
    """The way of a tile, line by line; its sides are multiples of 16."""
    process = make_process(DiffusionSettings())
    rows, columns = range(row, row + lq.shape[0]), range(column, column + lq.shape[1])

    def of_place(step: int) -> Tensor:
        return torch.from_numpy(noise.normal(seed, rows, columns, 3, stream=step))[None]

    with torch.no_grad():
        x = torch.from_numpy(lq).permute(2, 0, 1)[None] * 2 - 1
        z_y = paper.autoencoder().encode(F.interpolate(x, scale_factor=4, mode="bicubic"))
        z_0 = find_sampler(sampler)(lambda z, t: paper.unet()(z, t, x), z_y, process, of_place)
        picture = paper.autoencoder().decode(z_0)
    result: np.ndarray = (picture[0].permute(1, 2, 0) / 2 + 0.5).numpy()
    return result


@pytest.mark.parametrize(
    ("sampling", "sampler"),
    [
        ({"steps": 1}, "one_step"),
        ({"sampler": "one_step"}, "one_step"),
        ({"steps": 1, "sampler": "deterministic"}, "one_step"),
        ({}, "ancestral"),
        ({"steps": 15}, "ancestral"),
        ({"sampler": "deterministic"}, "deterministic"),
    ],
)
def test_a_tile_is_encoded_sampled_and_decoded(sampling: dict[str, Any], sampler: str) -> None:
    lq = photo(16, 32)
    found = backend(**sampling).restore(lq, row=5, column=7, seed=9)
    np.testing.assert_array_equal(found, by_hand(lq, sampler, 5, 7, 9))


@pytest.mark.parametrize(
    ("sampling", "asked"),
    [
        ({"steps": 1}, [14]),
        ({}, list(range(14, -1, -1))),
        ({"steps": 4}, [11, 7, 3, 0]),
        ({"steps": 5, "sampler": "deterministic"}, [12, 9, 6, 3, 0]),
    ],
)
def test_the_network_is_asked_at_the_steps_of_the_chain(
    sampling: dict[str, Any], asked: list[int]
) -> None:
    network = Counting()
    backend(network=network, **sampling).restore(photo(16, 16), row=0, column=0, seed=0)
    assert network.asked == asked


def test_more_steps_than_the_chain_has() -> None:
    with pytest.raises(OptionError, match="steps is 16, but the chain of these weights has 15"):
        backend(steps=16)
    assert backend(DiffusionSettings(steps=20), steps=16).process.last == 15


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (16, 16), (17, 15)])
def test_any_size(size: tuple[int, int]) -> None:
    found = backend(steps=1).restore(photo(*size), row=0, column=0, seed=0)
    assert found.shape == (4 * size[0], 4 * size[1], 3)
    assert np.isfinite(found).all()


class TestPadding:
    def test_it_reflects_to_the_right_and_below(self) -> None:
        lq = photo(40, 33)
        wanted = F.pad(torch.from_numpy(lq).permute(2, 0, 1)[None], (0, 31, 0, 24), "reflect")
        np.testing.assert_array_equal(padded(lq, 64), wanted[0].permute(1, 2, 0).numpy())

    def test_a_side_smaller_than_its_padding_is_reflected_to_and_fro(self) -> None:
        lq = np.arange(3, dtype=np.float32)[:, None, None]
        assert padded(lq, 8)[:, 0, 0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
        assert padded(lq[:1], 4).tolist() == np.zeros((4, 4, 1)).tolist()

    def test_what_needs_none_stays(self) -> None:
        np.testing.assert_array_equal(padded(photo(16, 32), 16), photo(16, 32))


class TestNoiseOfPlaces:
    def test_it_is_the_same_whatever_was_made_before_and_elsewhere(self) -> None:
        one, lq = backend(), photo(20, 20)
        with ThreadPoolExecutor(3, initializer=one.start_worker, initargs=(1,)) as pool:
            found = list(pool.map(lambda _: one.restore(lq, row=3, column=4, seed=5), range(4)))
        first = found[0]
        assert all(np.array_equal(first, other) for other in found)
        for other in ({"row": 4}, {"column": 5}, {"seed": 6}):
            place = {"row": 3, "column": 4, "seed": 5} | other
            assert not np.allclose(first, one.restore(lq, **place), atol=1e-3)

    def test_two_tiles_share_it_where_they_overlap(self) -> None:
        one, seen = backend(), torch.zeros(1, 3, 32, 32)
        (left, right) = (one._noise(seen, 0, column, 7) for column in (0, 20))
        for step in (15, 14, 1):
            torch.testing.assert_close(left(step)[..., 20:], right(step)[..., :12], rtol=0, atol=0)
        assert not torch.equal(left(15), left(14))


class TestNoiseStream:
    def test_it_is_the_global_generators(self) -> None:
        like = torch.zeros(1, 3, 9, 8)
        torch.manual_seed(12345)
        wanted = [torch.randn_like(like) for _ in range(3)]
        stream = NoiseStream(torch.device("cpu"))
        assert all(torch.equal(stream.take(like, 12345), drawn) for drawn in wanted)

    def test_it_goes_on_with_its_seed_and_starts_anew_with_another(self) -> None:
        like, stream = torch.zeros(50), NoiseStream(torch.device("cpu"))
        first, second, other, again = (stream.take(like, seed) for seed in (1, 1, 2, 1))
        assert torch.equal(first, again)
        assert not torch.equal(first, second)
        assert not torch.equal(first, other)

    @pytest.mark.parametrize(
        ("sampling", "draws"),
        [
            ({}, 1 + 15),
            ({"steps": 4}, 1 + 4),
            ({"steps": 1}, 1 + 1),
            ({"sampler": "one_step"}, 1 + 1),
            ({"sampler": "deterministic"}, 1),
            ({"steps": 1, "sampler": "deterministic"}, 1),
        ],
    )
    def test_a_tile_draws_as_often_as_officially(
        self, sampling: dict[str, Any], draws: int
    ) -> None:
        one = backend(tiling="official", **sampling)
        one.restore(photo(10, 10), row=0, column=0, seed=12345)
        torch.manual_seed(12345)
        wanted = [torch.randn(1, 3, 16, 16) for _ in range(draws + 1)][-1]
        assert one.stream is not None
        assert torch.equal(one.stream.take(wanted, 12345), wanted)

    def test_the_first_tile_starts_from_the_seeds_first_numbers(self) -> None:
        lq = photo(16, 16)
        found = backend(tiling="official", steps=1).restore(lq, row=0, column=0, seed=3)
        torch.manual_seed(3)
        with torch.no_grad():
            x = torch.from_numpy(lq).permute(2, 0, 1)[None] * 2 - 1
            z_y = paper.autoencoder().encode(F.interpolate(x, scale_factor=4, mode="bicubic"))
            prior = torch.randn_like(z_y)
            process = make_process(DiffusionSettings())
            z_0 = find_sampler("one_step")(
                lambda z, t: paper.unet()(z, t, x), z_y, process, lambda _: prior
            )
            wanted = paper.autoencoder().decode(z_0)[0].permute(1, 2, 0) / 2 + 0.5
        np.testing.assert_array_equal(found, wanted.numpy())

    def test_pictures_go_on_with_it(self) -> None:
        one, picture = backend(tiling="official", steps=1), Picture(np.full((8, 8, 3), 9, "u1"))
        first, second = (
            enlarge(picture, one, UpscaleSettings(seed=1, threads=1), notice=lambda _: None).pixels
            for _ in range(2)
        )
        assert not np.array_equal(first, second)
        anew = backend(tiling="official", steps=1)
        again = enlarge(
            picture, anew, UpscaleSettings(seed=1, threads=1), notice=lambda _: None
        ).pixels
        np.testing.assert_array_equal(first, again)


class TestTilings:
    def test_ours_overlaps_by_32_pixels_and_reads_whole_multiples(self) -> None:
        tiling = backend(chop_size=96).tiling
        assert isinstance(tiling, Feathered)
        columns = [tile.columns for tile in tiling.plan(1, 256)[0]]
        assert [len(column.read) for column in columns] == [96] * 4
        assert columns[1].read.stop - columns[2].read.start == 32
        assert columns[1].ramp_out == columns[2].ramp_in == 24

    def test_a_picture_of_the_chop_size_is_one_tile(self) -> None:
        tiling = backend(chop_size=96).tiling
        (tile,) = tiling.plan(96, 96)[0]
        assert tile.columns.read == range(96)
        assert [len(row) for row in tiling.plan(96, 97)] == [2]
        assert [len(row) for row in tiling.of_tile(32).plan(64, 130)] == [5]

    def test_the_official_one(self) -> None:
        assert backend(tiling="official", chop_size=512).tiling == Official(chop_size=512)

    def test_a_joint_is_no_step(self) -> None:
        picture = Picture((photo(20, 64) * 255).astype(np.uint8))
        large = enlarge(
            picture,
            backend(steps=1, chop_size=64),
            UpscaleSettings(threads=1),
            notice=lambda _: None,
        ).pixels.astype(float)
        steps = np.abs(np.diff(large, axis=1)).mean((0, 2))
        joint = steps[32 * 4 - 1]
        assert joint < 1.5 * np.median(steps)


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(BackendError, match="cannot use the device 'toaster'"):
        LatentBackend(
            paper.unet(),
            paper.autoencoder(),
            diffusion=DiffusionSettings(),
            sampling=SamplingSettings(),
            multiple=16,
            device="toaster",
        )


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (
            RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            ),
            LimitError,
            "a tile of 32x16 pixels does not fit in memory; choose a smaller --chop-size",
        ),
        (torch.OutOfMemoryError("CUDA"), LimitError, "does not fit in memory"),
        (RuntimeError("a defect"), RuntimeError, "a defect"),
    ],
)
def test_too_little_memory_for_a_tile(
    error: Exception, raised: type[Exception], words: str
) -> None:
    class Failing(nn.Module):
        def forward(self, *_: Tensor) -> Tensor:
            raise error

    with pytest.raises(raised, match=words):
        backend(network=Failing()).restore(photo(16, 32), row=0, column=0, seed=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"steps": 2.0}, "steps is 2.0; it must be a whole number"),
        ({"steps": 2, "sampler": "one_step"}, "steps is 2, but the sampler one_step takes 1"),
        ({"sampler": "ddim"}, "sampler is 'ddim'; it must be one of one_step, ancestral, determ"),
        ({"tiling": "none"}, "tiling is 'none'; it must be one of feathered, official"),
        ({"chain_steps": 1}, "chain_steps is 1; it must be from 2 to 10000"),
        ({"chop_size": 63}, "chop_size is 63 pixels; it must be from 64 to 4096"),
        ({"chop_size": None}, "chop_size is None; it must be a whole number"),
    ],
)
def test_sampling_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        SamplingSettings(**changes)
