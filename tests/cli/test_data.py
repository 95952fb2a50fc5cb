"""`bimacosr data` from the outside: the folders it makes, what it says, how it goes on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from bimacosr.data import pair_folder
from bimacosr.io import atomic
from tests.cli.conftest import Run
from tests.golden import reference as ref
from tests.unit.data.conftest import photo_pixels

STUDENT = "Kai-Liu001/BiMaCoSR/configs/BiMaCoSR.yaml"
TESTING = "zsyOAOA/ResShift/configs/degradation_testing_realesrgan.yaml"
BICUBIC = "zsyOAOA/ResShift/configs/bicx4_swinunet_lpips.yaml"
FACES = "zsyOAOA/ResShift/configs/faceir_gfpgan512_lpips.yaml"


def sharp_photo(path: Path, seed: int = 0, size: tuple[int, int] = (140, 70)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo_pixels(seed, *size)).save(path)
    return path


@pytest.fixture
def photos(folder: Path) -> Path:
    for n in range(6):
        sharp_photo(folder / "photos" / f"{n}.png", n)
    return folder / "photos"


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


class TestPrepare:
    def test_the_official_layout_and_a_manifest(self, run: Run, photos: Path, folder: Path) -> None:
        result = run(
            *("data", "prepare", "photos", "-o", "set", "--size", 64),
            *("--val-share", 0.5, "--licence", "CC0", "--workers", 2),
        )
        assert result.exit_code == 0, result.output
        files = content(folder / "set")
        kinds = {name.rsplit("/", 1)[0] for name in files}
        assert kinds == {"train", "val/HR", "val/LR", "manifest.csv", "settings.json"}
        train, hr, lr = (
            [name for name in files if name.startswith(kind)] for kind in ("tra", "val/H", "val/L")
        )
        assert {Path(n).name for n in hr} == {Path(n).name for n in lr}
        for name, side in ((hr[0], 64), (lr[0], 16), (train[0], 64)):
            with Image.open(folder / "set" / name) as image:
                assert image.size == (side, side)
        assert len((folder / "set/manifest.csv").read_text().splitlines()) == len(train + hr) + 1
        assert ",CC0\n" in (folder / "set/manifest.csv").read_text()
        told = f"set: {len(train)} crops for training, {len(hr)} pairs for validation"
        assert result.stdout.startswith(told)

    def test_run_again_it_adds_what_is_missing(self, run: Run, photos: Path, folder: Path) -> None:
        command = ("data", "prepare", "photos", "-o", "set", "--size", 64)
        run(*command)
        before = content(folder / "set")
        sharp_photo(photos / "later.png", 77)
        result = run(*command)
        assert "photos done before 6" in result.stdout
        after = content(folder / "set")
        del before["manifest.csv"]
        assert before.items() < after.items()
        assert any("later" in name for name in after)

    def test_what_is_left_out_is_told(self, run: Run, photos: Path, folder: Path) -> None:
        Image.fromarray(np.full((70, 70, 3), 90, np.uint8)).save(photos / "flat.png")
        Image.fromarray(photo_pixels(50, 20, 20)).resize((80, 80)).save(photos / "soft.png")
        sharp_photo(photos / "small.png", 9, (60, 60))
        (photos / "z-copy.png").write_bytes((photos / "1.png").read_bytes())
        result = run("data", "prepare", "photos", "-o", "set", "--size", 64, "--val-share", 0)
        assert result.exit_code == 0
        assert "12 crops" in result.stdout
        assert "left out: flat 1, blurry 1, repeated 1, photos too small 1" in result.stdout

    def test_a_bad_photo_is_one_sentence_and_status_1(
        self, run: Run, photos: Path, folder: Path
    ) -> None:
        (photos / "2.png").write_bytes((photos / "2.png").read_bytes()[:4000])
        result = run("data", "prepare", "photos", "gone.jpg", "-o", "set", "--size", 64)
        assert result.exit_code == 1
        assert "error: gone.jpg does not exist; check the path" in result.stderr
        assert "error: photos/2.png cannot be read as PNG" in result.stderr
        assert len(result.stderr.splitlines()) == 2
        assert "crops for training" in result.stdout

    def test_an_empty_folder(self, run: Run, folder: Path) -> None:
        (folder / "photos").mkdir()
        result = run("data", "prepare", "photos", "-o", "set")
        assert result.exit_code == 1
        assert "error: the folder photos holds no pictures" in result.stderr
        assert not (folder / "set").exists()

    @pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
    )
    def test_a_folder_that_may_not_be_written(self, run: Run, photos: Path, folder: Path) -> None:
        (folder / "set").mkdir(mode=0o500)
        result = run("data", "prepare", "photos", "-o", "set", "--size", 64)
        assert result.exit_code == 1
        assert "may not be written by you" in result.stderr

    def test_a_target_that_is_a_file(self, run: Run, photos: Path, folder: Path) -> None:
        (folder / "set").write_text("mine")
        result = run("data", "prepare", "photos", "-o", "set", "--size", 64)
        assert result.exit_code == 1
        assert "a part of its path is a file, not a folder" in result.stderr
        assert (folder / "set").read_text() == "mine"

    def test_a_full_disk(
        self, run: Run, photos: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        command = ("data", "prepare", "photos", "-o", "set", "--size", 64, "--val-share", 0)
        left, true_sync = [6], atomic._sync

        def sync(file: object) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            true_sync(file)  # type: ignore[arg-type]

        monkeypatch.setattr(atomic, "_sync", sync)
        result = run(*command)
        assert result.exit_code == 1
        assert "error: the disk is full while writing set/" in result.stderr
        assert result.stderr.rstrip().endswith("free some space and run again")
        assert not list((folder / "set").rglob("*.part"))
        monkeypatch.undo()
        monkeypatch.chdir(folder)
        assert run(*command).exit_code == 0
        assert len(list((folder / "set/train").iterdir())) == 12

    @pytest.mark.parametrize(
        ("option", "value", "message"),
        [
            ("--size", 66, "size_px is 66; it must be a multiple of the scale, 4"),
            ("--val-share", 1, "val_share is 1.0; it must be from 0 to 0.9"),
            ("--scale", 0, "scale is 0; it must be at least 1"),
            ("--max-pixels", 0, "max_pixels is 0"),
        ],
    )
    def test_options_out_of_range(
        self, run: Run, photos: Path, option: str, value: float, message: str
    ) -> None:
        result = run("data", "prepare", "photos", "-o", "set", option, value)
        assert result.exit_code == 1
        assert message in result.stderr


class TestDegrade:
    def test_pairs_by_name(self, run: Run, photos: Path, folder: Path) -> None:
        sharp_photo(photos / "deep" / "a.jpg", 8)
        result = run("data", "degrade", "photos", "-o", "out", "--variants", 2, "--workers", 2)
        assert result.exit_code == 0, result.output
        names = {f"{n}.png" for n in range(6)} | {"deep/a.png"}
        for half in ("HR", "LR", "LR_2"):
            assert content(folder / "out" / half).keys() == names
        assert result.stdout == "out: pairs of 7 pictures written, 0 were there\n"
        again = run("data", "degrade", "photos", "-o", "out", "--variants", 2)
        assert again.stdout == "out: pairs of 0 pictures written, 7 were there\n"

    @pytest.mark.parametrize("kind", ["realesrgan", "mild", "camera", "mixed", "light", "bicubic"])
    def test_workers_and_order_change_nothing(
        self, run: Run, photos: Path, folder: Path, kind: str
    ) -> None:
        for workers in (1, 3):
            options = ("--kind", kind, "--seed", 5, "--workers", workers)
            assert run("data", "degrade", "photos", "-o", f"{workers}", *options).exit_code == 0
        assert content(folder / "1") == content(folder / "3")

    def test_the_scale(self, run: Run, photos: Path, folder: Path) -> None:
        run("data", "degrade", "photos", "-o", "out", "--kind", "bicubic", "--scale", 2)
        with Image.open(folder / "out/LR/0.png") as image:
            assert image.size == (70, 35)

    @pytest.mark.skipif(not ref.FOLDER.is_dir(), reason="the references are not here")
    @pytest.mark.parametrize("name", [STUDENT, TESTING, BICUBIC])
    def test_an_official_file(self, run: Run, photos: Path, folder: Path, name: str) -> None:
        (folder / "c.yaml").write_text(yaml.safe_dump(ref.meta("configs_used")[name]))
        result = run("data", "degrade", "photos", "-o", "out", "--config", "c.yaml")
        assert result.exit_code == 0, result.output
        with Image.open(folder / "out/LR/0.png") as image:
            assert image.size == (35, 17)
        run("data", "degrade", "photos", "-o", "named", "--kind", "bicubic")
        same = content(folder / "out/LR") == content(folder / "named/LR")
        assert same == (name == BICUBIC)

    @pytest.mark.skipif(not ref.FOLDER.is_dir(), reason="the references are not here")
    def test_an_official_file_of_another_kind(self, run: Run, photos: Path, folder: Path) -> None:
        (folder / "c.yaml").write_text(yaml.safe_dump(ref.meta("configs_used")[FACES]))
        result = run("data", "degrade", "photos", "-o", "out", "--config", "c.yaml")
        assert result.exit_code == 1
        assert "c.yaml cannot be used: the training pictures are of type gfpgan" in result.stderr

    def test_a_file_and_a_kind_contradict(self, run: Run, photos: Path) -> None:
        result = run(
            *("data", "degrade", "photos", "-o", "out", "--config", "c.yaml", "--kind", "mild")
        )
        assert result.exit_code == 1
        assert "leave out --kind and --scale" in result.stderr

    def test_a_file_that_is_not_there(self, run: Run, photos: Path) -> None:
        result = run("data", "degrade", "photos", "-o", "out", "--config", "gone.yaml")
        assert result.exit_code == 1
        assert "gone.yaml" in result.stderr

    def test_other_settings_want_another_folder(self, run: Run, photos: Path) -> None:
        run("data", "degrade", "photos", "-o", "out")
        result = run("data", "degrade", "photos", "-o", "out", "--seed", 1)
        assert result.exit_code == 1
        assert "out was made with another seed" in result.stderr

    def test_an_interruption_keeps_what_is_done(
        self, run: Run, photos: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        left, true_save = [5], pair_folder._save

        def save(path: Path, data: bytes) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            true_save(path, data)

        monkeypatch.setattr(pair_folder, "_save", save)
        result = run("data", "degrade", "photos", "-o", "out", "--workers", 1)
        assert result.exit_code == 130
        assert "interrupted: 2 done and whole; the same command goes on" in result.stderr
        done = content(folder / "out")
        monkeypatch.undo()
        monkeypatch.chdir(folder)
        result = run("data", "degrade", "photos", "-o", "out")
        assert result.stdout == "out: pairs of 4 pictures written, 2 were there\n"
        assert done.items() <= content(folder / "out").items()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_whole_files(folder: Path, number: signal.Signals) -> None:
    for n in range(60):
        sharp_photo(folder / "photos" / f"{n}.png", n, (256, 256))
    command = [sys.executable, "-m", "bimacosr", "data", "degrade", "photos", "-o", "out"]
    process = subprocess.Popen(
        [*command, "--workers", "1"], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while len(list(folder.glob("out/LR/*.png"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert b"interrupted: " in errors
    assert b"Traceback" not in errors
    assert not list(folder.rglob("*.part"))
    made = list(folder.glob("out/?R/*.png"))
    assert 4 <= len(made) < 120
    for path in made:
        with Image.open(path) as image:
            image.load()


def test_without_pytorch_it_says_what_to_install(folder: Path) -> None:
    sharp_photo(folder / "a.png")
    script = "import sys; sys.modules['torch'] = None; from bimacosr.cli import main; main()"
    for command in ("prepare", "degrade"):
        result = subprocess.run(
            [sys.executable, "-c", script, "data", command, ".", "-o", "out"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 1
        assert result.stderr == (
            "error: the degradation needs PyTorch: pip install 'bimacosr[torch]'\n"
        )
