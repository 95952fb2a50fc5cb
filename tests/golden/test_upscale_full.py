"""Full-size checkpoints with the reference's synthetic weights go through `bimacosr upscale`.

Their pictures are noise by design; what they must be is proved by the other goldens.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from bimacosr.binarize.convert import binarize
from bimacosr.cli import main
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.networks import realsrx4_unet, vq_f4
from bimacosr.networks.unet import build_unet
from bimacosr.networks.vq import build_autoencoder
from tests.golden import reference as ref

PHOTO = ref.FOLDER.parent / "data" / "val" / "cid22_1bad70c0.webp"
RULE = KeepFloatRule(keywords=("input_blocks.0.0", "out.2"))
# name of a release, or a binarization method; the seed of its weights; options; the steps it takes
KINDS = {
    "resshift_realsrx4_s15_v1": (0, (), 15),
    "SinSR_v1": (4, (), 1),
    "bimacosr": (1, (), 1),
    "xnor": (1, ("--method", "xnor"), 1),
}


def write(path: Path, shapes: dict[str, tuple[int, ...]], seed: int) -> None:
    state = ref.synth().make_state(shapes, seed)
    torch.save({key: torch.from_numpy(value) for key, value in state.items()}, path)


def unet_shapes(method: str | None) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        network = build_unet(realsrx4_unet())
        if method is not None:
            network = binarize(network, BinarizeSettings(method=method, keep_float_conv=(RULE,)))
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the released autoencoder's stand-in."""
    folder = tmp_path_factory.mktemp("cache")
    with torch.device("meta"):
        network = build_autoencoder(vq_f4())
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    write(folder / "vq.pth", shapes, 3)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_real_photo(
    cache: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seed, options, steps = KINDS[kind]
    write(tmp_path / f"{kind}.pth", unet_shapes(None if "_" in kind else kind), seed)
    with Image.open(PHOTO) as image:
        image.crop((100, 100, 164, 164)).save("photo.png")
    asked: list[int] = []
    monkeypatch.setattr("bimacosr.networks.unet.UNetModelSwin.forward", counted(asked))
    command = ["upscale", "photo.png", "--weights", f"{kind}.pth", *options]
    command += ["--autoencoder", str(cache / "vq.pth"), "--threads", "1", "--backend", "torch"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert asked == list(range(14, 14 - steps, -1))
    with Image.open("photo_x4.png") as large:
        found = np.asarray(large)
    assert found.shape == (256, 256, 3)
    assert found.std() > 10


def counted(asked: list[int]) -> object:
    """The network's forward, which notes the steps that it is asked for."""
    from bimacosr.networks.unet import UNetModelSwin

    forward = UNetModelSwin.forward

    def noting(self: UNetModelSwin, x: torch.Tensor, t: torch.Tensor, lq: torch.Tensor) -> object:
        asked.append(int(t[0]))
        return forward(self, x, t, lq)

    return noting
