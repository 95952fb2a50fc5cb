"""`bimacosr upscale --weights`: checkpoints of each kind of the paper family, small ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import paper
from tests.cli.conftest import Run, photo

METHOD = {"bbcu": ("--method", "bbcu")}
"""What a checkpoint must be told; the keys of BBCU are ReActNet's."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint of each kind and vq.pth."""
    folder = tmp_path_factory.mktemp("weights")
    paper.write(folder / "resshift.pth", paper.unet())
    paper.write(folder / "sinsr.pth", paper.unet())
    paper.write(folder / "vq.pth", paper.autoencoder())
    for method in ("bimacosr", "bbcu"):
        paper.write(folder / f"{method}.pth", paper.student(method))
    return folder


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def enlarge(run: Run, weights: Path, kind: str, out: str, *options: object) -> np.ndarray:
    """What `bimacosr upscale a.png` makes of the weights of that kind."""
    files = ("--weights", weights / f"{kind}.pth", "--autoencoder", weights / "vq.pth")
    told = (*METHOD.get(kind, ()), "--threads", 1, *options)
    done = run("upscale", "a.png", "-o", out, *files, *told)
    assert done.exit_code == 0, done.output
    return pixels(Path(out))


@pytest.mark.parametrize("kind", ["resshift", "sinsr", "bimacosr", "bbcu"])
def test_every_kind_in_one_step_and_in_fifteen(
    run: Run, folder: Path, weights: Path, kind: str
) -> None:
    photo(folder / "a.png")
    one, fifteen = (enlarge(run, weights, kind, f"{n}.png", "--steps", n) for n in (1, 15))
    assert one.shape == fifteen.shape == (80, 96, 3)
    assert not np.array_equal(one, fifteen)
    default = enlarge(run, weights, kind, "default.png")
    assert np.array_equal(default, one if kind in ("bimacosr", "bbcu") else fifteen)


def test_what_was_assumed_is_noted_but_not_in_quiet(run: Run, folder: Path, weights: Path) -> None:
    photo(folder / "a.png", (8, 8))
    command = ("upscale", "a.png", "--weights", weights / "resshift.pth")
    command += ("--autoencoder", weights / "vq.pth", "--overwrite", "--threads", 1)
    done = run(*command)
    assert done.exit_code == 0
    assert "note: resshift.pth may be ResShift or SinSR, which look alike" in done.stderr
    assert run(*command, "-q").stderr == ""


def test_a_picture_unlike_its_input_is_noted_with_its_name(
    run: Run, folder: Path, weights: Path
) -> None:
    Image.fromarray(np.full((16, 16, 3), 255, np.uint8)).save(folder / "white.png")
    paper_options = ("--weights", weights / "bimacosr.pth", "--autoencoder", weights / "vq.pth")
    done = run("upscale", "white.png", "--threads", 1, *paper_options)
    assert done.exit_code == 0
    assert "note: white.png: the network gave a result that does not resemble" in done.stderr
    assert (folder / "white_x4.png").exists()


def test_the_samplers_differ(run: Run, folder: Path, weights: Path) -> None:
    photo(folder / "a.png", (16, 16))
    wanted = {
        "ancestral": ("--multi-step",),
        "ddim": ("--multi-step", "--ddim"),
        "four": ("--steps", "4"),
        "one": ("--one-step",),
        "seed": ("--one-step", "--seed", "12345"),
        "official": ("--one-step", "--tiling", "official"),
        "longer": ("--one-step", "--chain-steps", "20"),
    }
    found = {
        enlarge(run, weights, "sinsr", f"{name}.png", *options).tobytes()
        for name, options in wanted.items()
    }
    # from the end of the chain, a longer one starts at the same noise but tells another step
    assert len(found) == len(wanted)


def test_the_chop_size_is_what_the_network_sees(run: Run, folder: Path, weights: Path) -> None:
    photo(folder / "a.png", (100, 20))
    for tiling in ("feathered", "official"):
        small, large = (
            enlarge(run, weights, "sinsr", "b.png", "--overwrite", *options)
            for options in (
                ("--one-step", "--tiling", tiling, "--chop-size", chop) for chop in (64, 256)
            )
        )
        assert small.shape == large.shape == (80, 400, 3)
        assert not np.array_equal(small, large)


def test_contradictions_are_one_sentence(run: Run, folder: Path, weights: Path) -> None:
    photo(folder / "a.png")
    vq, unet = ("--autoencoder", weights / "vq.pth"), ("--weights", weights / "sinsr.pth")
    for options, words, status in (
        (("--one-step", "--steps", 3), "either --one-step or --steps 3", 2),
        (("--multi-step", "--steps", 1), "either --multi-step or --steps 1", 2),
        (("--steps", 4), "steps is only for weights of the paper family", 1),
        ((*unet, "--model", "edge-x4"), "either a model or weights", 1),
        ((*unet, *vq, "--steps", 16), "steps is 16, but the chain of these weights has 15", 1),
        ((*unet, *vq, "--tiling", "none"), "tiling is 'none'", 1),
        ((*unet, *vq, "--tiling", "official", "--tile", 64), "the official one takes chop_size", 1),
        ((*unet, *vq, "--backend", "abacus"), "there is no backend 'abacus'", 1),
        ((*unet, *vq, "--config", "no.yaml"), "no.yaml", 1),
        (("--weights", "no.pth", *vq), "no.pth", 1),
    ):
        result = run("upscale", "a.png", *options)
        assert result.exit_code == status, options
        assert words in result.stderr
        assert not (folder / "a_x4.png").exists()
