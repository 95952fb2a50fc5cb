"""The native backend of the paper family against the torch one, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import bimacosr
from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.config.networks import AutoencoderSettings
from bimacosr.diffusion.process import enlarge as torch_enlarge
from bimacosr.diffusion.process import make_process
from bimacosr.engine import instruction_sets
from bimacosr.engine.enlarge import enlarge
from bimacosr.engine.latent import NativeLatentBackend, OneStep
from bimacosr.engine.noise_stream import NoiseStream
from bimacosr.errors import LimitError, ModelError, OptionError
from bimacosr.networks.vq import build_autoencoder
from bimacosr.pack.format import read_packed, write_packed
from bimacosr.reference import LatentBackend
from tests import paper
from tests.unit.engine.latent_files import LatentFiles, write_files
from tests.unit.engine.test_threads import forks_with_threads, in_child, needs_fork

PHOTO = Path(__file__).parents[3] / "examples" / "mountain.jpg"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> LatentFiles:
    return write_files(tmp_path_factory.mktemp("latent"))


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    with Image.open(PHOTO) as image:
        return np.asarray(image.convert("RGB"), np.float32)[40:110, 60:150] / 255


def opened(files: LatentFiles, backend: str = "native", **options: Any) -> Any:
    """The backend of the packed files."""
    resolver = bimacosr.load(
        files.student, backend, autoencoder=files.autoencoder, notice=lambda _: None, **options
    )
    return resolver.backend


def restored(backend: Any, lq: np.ndarray, seed: int = 7) -> np.ndarray:
    result: np.ndarray = backend.restore(lq, row=5, column=9, seed=seed)
    return result


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((a - b) ** 2) + 1e-20))


class TestPicturesAreThoseOfPyTorch:
    @pytest.mark.parametrize("tiling", ["feathered", "official"])
    @pytest.mark.parametrize("size", [(16, 32), (1, 1), (17, 40)])
    def test_of_a_tile(
        self, tiling: str, size: tuple[int, int], files: LatentFiles, photo: np.ndarray
    ) -> None:
        lq = photo[: size[0], : size[1]]
        native, reference = (opened(files, name, tiling=tiling) for name in ("native", "torch"))
        assert isinstance(native, NativeLatentBackend)
        assert isinstance(reference, LatentBackend)
        for seed in (7, 7, 8):  # the official noise goes on, and starts anew
            sr = restored(native, lq, seed)
            assert sr.shape == (4 * size[0], 4 * size[1], 3)
            assert psnr(sr, restored(reference, lq, seed)) > 60

    def test_of_a_picture_in_tiles(self, files: LatentFiles, photo: np.ndarray) -> None:
        for tiling in ("feathered", "official"):
            pictures = [
                bimacosr.load(
                    files.student,
                    name,
                    autoencoder=files.autoencoder,
                    notice=lambda _: None,
                    tiling=tiling,
                    chop_size=64,
                )(photo)
                for name in ("native", "torch")
            ]
            assert psnr(*pictures) > 60

    @pytest.mark.parametrize("name", ["native", "torch"])
    def test_nearly_with_a_rounded_autoencoder(
        self, name: str, files: LatentFiles, photo: np.ndarray
    ) -> None:
        """Rounding moves the student's input, too, and may flip signs."""
        if name == "native" and "amx" not in instruction_sets():
            pytest.skip("no AMX on this machine")
        exact, rounded = (
            opened(files, name, autoencoder_precision=precision) for precision in ("fp32", "bf16")
        )
        assert 25 < psnr(restored(exact, photo), restored(rounded, photo)) < 90

    def test_of_a_checkpoint(self, files: LatentFiles, photo: np.ndarray) -> None:
        """Packed in memory: no half precision, so nearer to the checkpoint than its packed file."""
        options = {"weights": files.checkpoint, "autoencoder": files.autoencoder_checkpoint}
        native, reference = (
            bimacosr.load(backend=name, notice=lambda _: None, **options).backend
            for name in ("auto", "torch")
        )
        assert isinstance(native, NativeLatentBackend)
        assert isinstance(reference, LatentBackend)
        assert psnr(restored(native, photo), restored(reference, photo)) > 60

    def test_noise_is_that_of_the_place(self, files: LatentFiles, photo: np.ndarray) -> None:
        native = opened(files)
        here = native.restore(photo, row=5, column=9, seed=7)
        for place in ({"row": 6}, {"column": 8}, {"seed": 8}):
            other = native.restore(photo, **{"row": 5, "column": 9, "seed": 7} | place)
            assert psnr(here, other) < 60


def test_packed_files_load_no_torch(files: LatentFiles, tmp_path: Path) -> None:
    """By the name of a model and as weights, as the command line does it."""
    with Image.open(PHOTO) as image:
        image.crop((40, 60, 70, 80)).save(tmp_path / "photo.png")
    script = (
        "import atexit, sys\n"
        "from bimacosr.cli import main\n"
        "atexit.register(lambda: print('torch' in sys.modules))\n"
        "main(['upscale', 'photo.png', '-o', 'large.png', *sys.argv[1:]])\n"
    )
    autoencoder = ("--autoencoder", str(files.autoencoder))
    pictures = []
    for kind in ("--model", "--weights"):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                script,
                kind,
                str(files.student),
                *autoencoder,
                "--overwrite",
                "-q",
            ],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["False"]
        pictures.append((tmp_path / "large.png").read_bytes())
    assert pictures[0] == pictures[1]


class TestThreads:
    def test_they_change_no_bit(self, files: LatentFiles, photo: np.ndarray) -> None:
        native = opened(files)
        alone = restored(native, photo)
        native.start_worker(3)
        assert np.array_equal(restored(native, photo), alone)

    def test_two_do_not_disturb_each_other(self, files: LatentFiles, photo: np.ndarray) -> None:
        native = opened(files)
        alone = [restored(native, lq) for lq in (photo, photo[:20])]
        with ThreadPoolExecutor(2) as threads:
            for _ in range(2):
                runs = [threads.submit(restored, native, lq) for lq in (photo, photo[:20])]
                assert all(np.array_equal(r.result(), a) for r, a in zip(runs, alone, strict=True))

    @needs_fork
    @forks_with_threads
    def test_a_forked_child_goes_on(self, files: LatentFiles, photo: np.ndarray) -> None:
        native = opened(files)
        native.start_worker(2)
        expected = restored(native, photo)
        assert np.array_equal(in_child(lambda: restored(native, photo)), expected)
        assert np.array_equal(restored(native, photo), expected)

    def test_the_instruction_set_is_that_of_the_environment(
        self, files: LatentFiles, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        best = restored(opened(files), photo[:16, :16])
        monkeypatch.setenv("BIMACOSR_ISA", "scalar")
        native = opened(files)
        assert native.isa == "scalar"
        assert psnr(restored(native, photo[:16, :16]), best) > 60


class TestTheParts:
    @pytest.mark.parametrize("scale", [1, 2, 4])
    def test_enlarging_is_pytorchs(self, scale: int) -> None:
        lq = np.random.default_rng(3).random((5, 1, 3), np.float32)
        planes = torch.from_numpy(lq).permute(2, 0, 1)[None]
        wanted = torch_enlarge(planes, scale)[0].permute(1, 2, 0)
        np.testing.assert_allclose(enlarge(lq, scale), wanted.numpy(), atol=1e-6)

    @pytest.mark.parametrize("shape", [(1, 3, 8, 16), (17,), (31,), (16,)])
    def test_the_noise_stream_is_pytorchs_generator(self, shape: tuple[int, ...]) -> None:
        torch.manual_seed(12345)
        drawn = [torch.empty(shape).normal_().numpy() for _ in range(3)]
        stream = NoiseStream()
        np.testing.assert_allclose(stream.take(shape, 12345, spare=1), drawn[0], atol=2e-6)
        np.testing.assert_allclose(stream.take(shape, 12345), drawn[2], atol=2e-6)
        np.testing.assert_allclose(stream.take(shape, 12345 + (1 << 32)), drawn[0], atol=2e-6)

    def test_too_few_numbers_for_it(self) -> None:
        with pytest.raises(OptionError, match="a latent of 12 numbers is too small"):
            NoiseStream().take((3, 2, 2), 0)

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"predict_type": "residual", "clip": True},
            {"predict_type": "epsilon", "kappa": 1.5},
            {"predict_type": "epsilon_scale", "latent_flag": False},
            {"normalize_input": False, "steps": 9},
        ],
        ids=str,
    )
    def test_one_step_is_that_of_the_process(self, changes: dict[str, Any]) -> None:
        settings = DiffusionSettings(**changes)
        process, step = make_process(settings), OneStep(settings)
        z_y, noise, output = np.random.default_rng(1).normal(size=(3, 1, 3, 4, 5)).astype("f4")
        tensor_y, t = torch.from_numpy(z_y), torch.tensor([process.last])
        z_t = process.prior_sample(tensor_y, torch.from_numpy(noise))
        np.testing.assert_allclose(step.start(z_y, noise), z_t, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(
            step.start(z_y, noise) / step.spread, process.scale_input(z_t, t), rtol=1e-6, atol=1e-6
        )
        wanted = process.z_0_from_output(torch.from_numpy(output), z_t, tensor_y, t)
        np.testing.assert_allclose(step.z_0(output, z_t.numpy(), z_y), wanted, rtol=1e-4, atol=1e-4)
        assert step.stream == process.last + 1


class TestWhatIsRefused:
    def test_many_steps(self, files: LatentFiles, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="packed for one step; pack it with --multi-step"):
            opened(files, steps=4)
        many = write_files(tmp_path, step=None)
        with pytest.raises(OptionError, match="takes one step, not many; use --backend torch"):
            opened(many)
        assert isinstance(opened(many, "auto"), LatentBackend)
        assert isinstance(opened(many, "auto", steps=1), NativeLatentBackend)

    def test_an_autoencoder_of_another_shape(self, files: LatentFiles, tmp_path: Path) -> None:
        torch.manual_seed(0)
        other = build_autoencoder(AutoencoderSettings(channels=32, channel_mult=(1, 1)))
        path = paper.write(tmp_path / "other.pth", other)
        with pytest.raises(ModelError, match=r"other\.pth has another shape"):
            opened(files._replace(autoencoder=path))

    def test_the_files_in_each_others_place(self, files: LatentFiles) -> None:
        with pytest.raises(ModelError, match="is an autoencoder; give it as the autoencoder"):
            bimacosr.load(files.autoencoder)
        with pytest.raises(ModelError, match="no autoencoder; give it as the model"):
            opened(files._replace(autoencoder=files.student))
        with pytest.raises(ModelError, match=r"student\.pth cannot be loaded: it is a denoiser"):
            opened(files._replace(autoencoder=files.checkpoint))

    def test_options_of_checkpoints(self, files: LatentFiles) -> None:
        for name, value in {"config": "a.yaml", "method": "xnor", "chain_steps": 9}.items():
            with pytest.raises(OptionError, match=f"{name} is only for weights"):
                opened(files, **{name: value})
        with pytest.raises(OptionError, match="isa is for the native backend"):
            opened(files, "torch", isa="scalar")

    def test_a_file_that_changes_while_it_is_used(
        self, files: LatentFiles, photo: np.ndarray, tmp_path: Path
    ) -> None:
        copy = tmp_path / "vq.safetensors"
        copy.write_bytes(files.autoencoder.read_bytes())
        native = opened(files._replace(autoencoder=copy))
        with copy.open("r+b") as file:
            file.truncate(copy.stat().st_size // 2)
        with pytest.raises(ModelError, match=r"vq\.safetensors was changed while it was used"):
            restored(native, photo)

    def test_a_file_that_is_replaced_stays_what_it_was(
        self, files: LatentFiles, photo: np.ndarray, tmp_path: Path
    ) -> None:
        copy = tmp_path / "vq.safetensors"
        copy.write_bytes(files.autoencoder.read_bytes())
        native = opened(files._replace(autoencoder=copy))
        (tmp_path / "other").write_bytes(b"something else")
        (tmp_path / "other").replace(copy)
        assert np.array_equal(restored(native, photo), restored(opened(files), photo))

    def test_too_little_memory(
        self, files: LatentFiles, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> None:
            raise MemoryError

        native = opened(files)
        monkeypatch.setattr(native.autoencoder, "decode", fail)
        with pytest.raises(LimitError, match="a tile of 32x16 pixels does not fit in memory"):
            restored(native, photo[:16, :32])

    def test_a_model_that_is_no_longer_whole(self, files: LatentFiles, tmp_path: Path) -> None:
        model = read_packed(files.student)
        tensors = {k: v for k, v in model.tensors.items() if k != "out.2.bias"}
        broken = tmp_path / "broken.safetensors"
        write_packed(broken, replace(model, tensors=tensors))
        with pytest.raises(ModelError, match=r"out\.2\.bias is missing"):
            opened(files._replace(student=broken))
