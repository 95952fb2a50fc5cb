"""`bimacosr upscale` from the outside: what it writes, what it says, what it never does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bimacosr.io import atomic
from tests.cli.conftest import Run, photo


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


def test_a_photo_becomes_four_times_larger_beside_itself(run: Run, folder: Path) -> None:
    photo(folder / "a.jpg")
    result = run("upscale", "a.jpg")
    assert result.exit_code == 0, result.output
    with Image.open(folder / "a_x4.jpg") as large:
        assert large.size == (96, 80)
        assert large.format == "JPEG"
    assert "a.jpg -> a_x4.jpg  96x80" in result.stdout


def test_a_folder_keeps_its_tree(run: Run, folder: Path) -> None:
    photo(folder / "in" / "a.png")
    photo(folder / "in" / "deep" / "b.webp")
    (folder / "in" / "notes.txt").write_text("no picture")
    assert run("upscale", "in", "-o", "out").exit_code == 0
    assert {p.relative_to(folder).as_posix() for p in (folder / "out").rglob("*.*")} == {
        "out/a.png",
        "out/deep/b.webp",
    }


def test_a_folder_without_output_gets_a_sibling(run: Run, folder: Path) -> None:
    photo(folder / "in" / "a.png")
    assert run("upscale", "in").exit_code == 0
    assert (folder / "in_x4" / "a.png").exists()


def test_the_output_folder_inside_the_input_is_not_an_input(run: Run, folder: Path) -> None:
    photo(folder / "in" / "a.png")
    for flag in ("--overwrite", "--skip-existing"):
        assert run("upscale", "in", "-o", "in/large", flag).exit_code == 0
    assert [p.name for p in (folder / "in" / "large").rglob("*.*")] == ["a.png"]


def test_a_pattern_is_expanded(run: Run, folder: Path) -> None:
    photo(folder / "a.png")
    photo(folder / "b.png")
    photo(folder / "c.jpg")
    assert run("upscale", "*.png", "-o", "out").exit_code == 0
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (("--scale", "2"), (48, 40)),
        (("--scale", "1.5"), (36, 30)),
        (("--width", "60"), (60, 50)),
        (("--height", "30"), (36, 30)),
        (("--width", "50", "--height", "70"), (50, 70)),
    ],
)
def test_any_size(run: Run, folder: Path, options: tuple[str, ...], size: tuple[int, int]) -> None:
    photo(folder / "a.png")
    assert run("upscale", "a.png", "-o", "out.png", *options).exit_code == 0
    with Image.open(folder / "out.png") as large:
        assert large.size == size


def test_format_and_quality(run: Run, folder: Path) -> None:
    photo(folder / "a.png", (64, 64))
    for quality in (30, 95):
        out = f"q{quality}"
        done = run("upscale", "a.png", "-o", out, "--format", "jpeg", "--quality", quality)
        assert done.exit_code == 0
        assert (folder / out / "a.jpg").exists()
    assert (folder / "q30/a.jpg").stat().st_size < (folder / "q95/a.jpg").stat().st_size


def test_the_picture_does_not_depend_on_threads_and_hardly_on_tiles(run: Run, folder: Path) -> None:
    photo(folder / "a.png", (100, 70))
    for name, options in {
        "one": ("--threads", 1, "--tile", 32),
        "three": ("--threads", 3, "--tile", 32),
        "whole": ("--tile", 256),
    }.items():
        assert run("upscale", "a.png", "-o", f"{name}.png", *options).exit_code == 0
    one, three, whole = (
        np.asarray(Image.open(folder / f"{name}.png")).astype(float)
        for name in ("one", "three", "whole")
    )
    assert np.array_equal(one, three)
    error = np.square(one - whole).mean()
    assert error == 0 or 10 * np.log10(255**2 / error) > 45


# ---------------------------------------------------------------- what is there already


def test_an_existing_result_is_refused_kept_or_replaced(run: Run, folder: Path) -> None:
    photo(folder / "a.png")
    target = folder / "a_x4.png"
    target.write_bytes(b"precious")
    refused = run("upscale", "a.png")
    assert refused.exit_code == 1
    assert "a_x4.png exists; use --overwrite or --skip-existing" in refused.stderr
    assert run("upscale", "a.png", "--skip-existing").exit_code == 0
    assert target.read_bytes() == b"precious"
    assert run("upscale", "a.png", "--overwrite").exit_code == 0
    with Image.open(target) as large:
        assert large.size == (96, 80)


def test_both_ways_at_once_are_refused(run: Run, folder: Path) -> None:
    photo(folder / "a.png")
    assert run("upscale", "a.png", "--overwrite", "--skip-existing").exit_code == 2


def test_the_input_is_never_replaced(run: Run, folder: Path) -> None:
    before = photo(folder / "a.png").read_bytes()
    result = run("upscale", "a.png", "-o", ".", "--overwrite")
    assert result.exit_code == 1
    assert "would replace it" in result.stderr
    assert (folder / "a.png").read_bytes() == before


def test_two_pictures_never_share_a_result(run: Run, folder: Path) -> None:
    photo(folder / "a.png")
    photo(folder / "a.jpg")
    result = run("upscale", "a.png", "a.jpg", "-o", "out", "--format", "png")
    assert result.exit_code == 1
    assert "would both be" in result.stderr
    assert (folder / "out" / "a.png").exists()


def test_a_result_of_another_input_is_not_enlarged_again(run: Run, folder: Path) -> None:
    photo(folder / "a.png")
    assert run("upscale", "*.png").exit_code == 0
    again = run("upscale", "*.png", "--skip-existing")
    assert "a_x4.png is where the result of a.png goes" in again.stderr
    assert "a_x4.png exists, skipped" in again.stdout
    assert sorted(p.name for p in folder.iterdir()) == ["a.png", "a_x4.png"]


def test_the_output_folder_is_not_matched_by_a_pattern(run: Run, folder: Path) -> None:
    photo(folder / "in" / "a.png")
    for _ in range(2):
        assert run("upscale", "in/*", "-o", "in/large", "--skip-existing").exit_code == 0
    assert [p.name for p in (folder / "in" / "large").iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-o", "out.gif"), "out.gif does not name a picture format that can be written"),
        (("-o", "out.jpg", "--format", "png"), "contradict each other"),
    ],
)
def test_an_output_file_of_another_format_is_refused(
    run: Run, folder: Path, options: tuple[str, ...], words: str
) -> None:
    photo(folder / "a.png")
    result = run("upscale", "a.png", *options)
    assert result.exit_code == 1
    assert words in result.stderr
    assert [p.name for p in folder.iterdir()] == ["a.png"]


def test_an_empty_input_is_not_the_current_folder(run: Run, folder: Path) -> None:
    photo(folder / "a.png")
    result = run("upscale", "", "-o", "out")
    assert result.exit_code == 1
    assert "an input is empty" in result.stderr
    assert not (folder / "out").exists()


def test_several_pictures_into_one_file_are_refused(run: Run, folder: Path) -> None:
    photo(folder / "a.png")
    photo(folder / "b.png")
    result = run("upscale", "a.png", "b.png", "-o", "out.png")
    assert result.exit_code == 1
    assert "give a folder" in result.stderr


def test_dry_run_writes_nothing(run: Run, folder: Path) -> None:
    photo(folder / "a.png")
    result = run("upscale", "a.png", "-o", "out", "--dry-run")
    assert result.exit_code == 0
    assert "would write a.png -> out/a.png" in result.stdout
    assert not (folder / "out").exists()


def test_dry_run_names_what_is_missing(run: Run, folder: Path) -> None:
    result = run("upscale", "nowhere.png", "--dry-run")
    assert result.exit_code == 1
    assert "nowhere.png does not exist" in result.stderr


# ---------------------------------------------------------------- bad input


def truncated(path: Path) -> None:
    photo(path, (80, 80))
    path.write_bytes(path.read_bytes()[:-400])


def animated(path: Path) -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])


BAD = {
    "cut.jpg": (truncated, "cut.jpg"),
    "cut.png": (truncated, "cut.png"),
    "text.png": (lambda p: p.write_text("hello, I am a text"), "text.png"),
    "empty.png": (lambda p: p.write_bytes(b""), "empty.png"),
    "moving.webp": (animated, "animated"),
    "moving.png": (animated, "animated"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_picture_is_one_sentence_and_the_others_go_on(
    run: Run, folder: Path, name: str
) -> None:
    make, words = BAD[name]
    make(folder / name)
    photo(folder / "good.png")
    result = run("upscale", name, "good.png", "-o", "out")
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert name in errors[0]
    assert words in errors[0]
    assert [p.name for p in (folder / "out").iterdir()] == ["good.png"]


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
def test_extreme_shapes_are_enlarged(run: Run, folder: Path, size: tuple[int, int]) -> None:
    photo(folder / "a.png", size)
    result = run("upscale", "a.png")
    assert result.exit_code == 0, result.output
    with Image.open(folder / "a_x4.png") as large:
        assert large.size == (4 * size[0], 4 * size[1])


def test_a_decompression_bomb_is_refused_before_decoding(run: Run, folder: Path) -> None:
    Image.new("1", (30000, 30000)).save(folder / "bomb.png")
    began = time.monotonic()
    result = run("upscale", "bomb.png")
    assert result.exit_code == 1
    assert "bomb.png" in result.stderr
    assert "--max-pixels" in result.stderr
    assert time.monotonic() - began < 20


def test_a_missing_path(run: Run) -> None:
    result = run("upscale", "nowhere.png", "none-*.jpg")
    assert result.exit_code == 1
    assert "nowhere.png" in result.stderr
    assert "no picture matches none-*.jpg" in result.stderr


def test_links_that_lead_nowhere_and_names_that_are_too_long(run: Run, folder: Path) -> None:
    photo(folder / "in" / "good.png")
    (folder / "in" / "self.png").symlink_to("self.png")
    (folder / "in" / "again").symlink_to(".")
    long = "z" * 300 + ".png"
    result = run("upscale", "in", long, "-o", "out")
    assert result.exit_code == 1
    assert "self.png is a link that leads to itself" in result.stderr
    assert f"{long} has too long a name" in result.stderr
    assert [p.name for p in (folder / "out").iterdir()] == ["good.png"]
    photo(folder / f"{'n' * 250}.png")
    beside = run("upscale", f"{'n' * 250}.png")
    assert "has too long a name for this system; shorten it" in beside.stderr


def test_a_folder_that_cannot_be_listed_is_reported(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(folder / "in" / "a.png")
    photo(folder / "in" / "secret" / "b.png")
    list_folder = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", refuse)
    result = run("upscale", "in", "-o", "out")
    assert result.exit_code == 1
    assert "in/secret cannot be listed (Permission denied)" in result.stderr
    assert (folder / "out" / "a.png").exists()


def test_names_are_shown_without_what_a_terminal_obeys(run: Run, folder: Path) -> None:
    photo(folder / "a\x1b[31m.png")
    result = run("upscale", "a\x1b[31m.png", "b\x1b[31m*.png", "-o", "out")
    assert "a?[31m.png -> out/a?[31m.png" in result.stdout
    assert "\x1b" not in result.output


def test_a_name_that_the_terminal_cannot_show_is_no_failure(folder: Path) -> None:
    photo(folder / "\u00e4.png")
    done = subprocess.run(
        [sys.executable, "-m", "bimacosr", "upscale", "\u00e4.png"],
        cwd=folder,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\xe4.png" in done.stdout


def test_an_unwritable_folder(run: Run, folder: Path) -> None:
    photo(folder / "a.png")
    (folder / "file").write_text("not a folder")
    result = run("upscale", "a.png", "-o", "file/below")
    assert result.exit_code == 1
    assert "file" in result.stderr


def test_a_full_disk_leaves_nothing_and_says_so(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(folder / "a.png")

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "_sync", full)
    result = run("upscale", "a.png", "-o", "out")
    assert result.exit_code == 1
    assert "disk is full" in result.stderr
    assert not list((folder / "out").iterdir())


def test_wrong_options_are_one_sentence(run: Run, folder: Path) -> None:
    photo(folder / "a.png")
    for options, words in {
        ("--scale", "0"): "scale is 0",
        ("--tile", "3"): "tile is 3",
        ("--threads", "-1"): "threads is -1",
        ("--quality", "101"): "quality is 101",
        ("--width", "0"): "width is 0",
        ("--seed", "-5"): "seed is -5",
        ("--model", "no-such"): "there is no model 'no-such'",
        ("--backend", "abacus"): "there is no backend 'abacus'",
        ("--device", "toaster"): "toaster",
        ("--max-pixels", "0"): "max_pixels is 0",
    }.items():
        result = run("upscale", "a.png", *options)
        assert result.exit_code == 1, options
        assert words in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_a_faulty_model_writes_no_picture(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bimacosr.engine import NativeBackend

    photo(folder / "a.png")
    monkeypatch.setattr(
        NativeBackend,
        "restore",
        lambda self, lq, **_: np.full((lq.shape[0] * 4, lq.shape[1] * 4, 3), np.nan, np.float32),
    )
    result = run("upscale", "a.png")
    assert result.exit_code == 1
    assert "NaN" in result.stderr
    assert not (folder / "a_x4.png").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_the_middle_nothing_is_lost(folder: Path, number: int) -> None:
    photo(folder / "in" / "a.png")
    photo(folder / "in" / "b.png", (900, 900))
    process = subprocess.Popen(
        [sys.executable, "-m", "bimacosr", "upscale", "in", "-o", "out", "--threads", "1"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert "a.png" in process.stdout.readline()
    time.sleep(0.5)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: 1 done" in errors
    assert "Traceback" not in errors
    assert [p.name for p in (folder / "out").iterdir()] == ["a.png"]
    with Image.open(folder / "out" / "a.png") as whole:
        whole.load()
    assert not leftovers(folder)


def test_no_result_replaces_another_input(run: Run, folder: Path) -> None:
    before = photo(folder / "a.png").read_bytes()
    photo(folder / "x" / "a.png", (10, 10))
    result = run("upscale", "a.png", "x/a.png", "-o", ".", "--overwrite")
    assert result.exit_code == 1
    assert "would replace the input" in result.stderr
    assert (folder / "a.png").read_bytes() == before


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_read_only_folder_is_found_before_the_work(run: Run, folder: Path) -> None:
    photo(folder / "a.png")
    (folder / "closed").mkdir(mode=0o555)
    result = run("upscale", "a.png", "-o", "closed")
    assert result.exit_code == 1
    assert "closed" in result.stderr


def test_a_folder_that_cannot_be_written_to_is_found_before_the_work(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo(folder / "a.png")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder)
    monkeypatch.setattr("bimacosr.resolver.enlarge", lambda *_, **__: pytest.fail("it was made"))
    result = run("upscale", "a.png", "-o", "out")
    assert result.exit_code == 1
    assert "out/a.png" in result.stderr
    assert "may not" in result.stderr or "permission" in result.stderr.lower()
