"""The native backend against the torch one, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import bimacosr
from bimacosr.binarize.convert import binarize
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.engine import NativeBackend, instruction_sets
from bimacosr.engine.native import choose_instruction_set
from bimacosr.errors import BackendError, ModelError, OptionError
from bimacosr.models.catalogue import find_model
from bimacosr.networks.edge import EdgeNet
from bimacosr.pack.format import PackedModel, read_packed, write_packed
from bimacosr.pack.modules import pack_network
from bimacosr.reference import TorchBackend

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def packed() -> PackedModel:
    return read_packed(find_model("default"))


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    with Image.open(ROOT / "examples" / "mountain.jpg") as image:
        return np.asarray(image.convert("RGB"), np.float32) / 255


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((a - b) ** 2) + 1e-20))


@pytest.mark.parametrize("isa", instruction_sets())
@pytest.mark.parametrize("size", [(1, 1), (3, 50), (64, 33), (47, 80)])
def test_pictures_are_those_of_pytorch(
    isa: str, size: tuple[int, int], packed: PackedModel, photo: np.ndarray
) -> None:
    lq = photo[70 : 70 + size[0], 90 : 90 + size[1]]
    native = NativeBackend(packed, isa).restore(lq, row=0, column=0, seed=0)
    reference = TorchBackend(packed).restore(lq, row=0, column=0, seed=0)
    assert native.shape == (4 * size[0], 4 * size[1], 3)
    # a sign on the edge may fall to the other side; most pictures have none
    assert psnr(native, reference) > 55


@pytest.mark.parametrize("changes", [{"kappa": 0.5}, {"kappa": 0.5, "normalize_input": False}])
def test_noise_is_that_of_the_place(
    changes: dict[str, object], packed: PackedModel, photo: np.ndarray
) -> None:
    noisy = replace(packed, diffusion=packed.diffusion | changes)
    lq = photo[:24, :31]
    native = NativeBackend(noisy).restore(lq, row=5, column=9, seed=3)
    reference = TorchBackend(noisy).restore(lq, row=5, column=9, seed=3)
    still = NativeBackend(packed).restore(lq, row=5, column=9, seed=3)
    assert psnr(native, reference) > 55
    assert psnr(native, still) < 40


def test_the_default_is_native_and_loads_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys, bimacosr; r = bimacosr.load(); "
        f"r({str(ROOT / 'examples' / 'mountain.jpg')!r}, out={str(tmp_path / 'large.png')!r}); "
        "print(r.backend.name, 'torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["native", "False"]
    with Image.open(tmp_path / "large.png") as large:
        assert large.size == (1024, 1024)


def student_of(method: str) -> PackedModel:
    """A small edge student, its weights random."""
    torch.manual_seed(0)
    settings = BinarizeSettings(
        method=method,
        sign_of_zero=1,
        keep_float_conv=(KeepFloatRule(keywords=("first", "last")),),
    )
    student = binarize(EdgeNet(32, 2, 4), settings)
    for parameter in student.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return pack_network(
        student,
        name=method,
        family="edge",
        network={"channels": 32, "blocks": 2, "scale": 4},
        binarize_settings=settings,
        diffusion={"kappa": 0.0, "predict_type": "residual"},
        license_name="none",
    )


class TestStudentsOfOtherMethods:
    @pytest.mark.parametrize("isa", instruction_sets())
    def test_that_of_xnor_runs_natively(self, isa: str, photo: np.ndarray) -> None:
        packed, lq = student_of("xnor"), photo[70:103, 90:130]
        native = NativeBackend(packed, isa).restore(lq, row=0, column=0, seed=0)
        assert psnr(native, TorchBackend(packed).restore(lq, row=0, column=0, seed=0)) > 55

    @pytest.mark.parametrize("method", ["reactnet", "bbcu", "reste", "bidm"])
    def test_others_run_in_pytorch(self, method: str, tmp_path: Path) -> None:
        packed = student_of(method)
        write_packed(tmp_path / "model.safetensors", packed)
        assert bimacosr.load(tmp_path / "model.safetensors").backend.name == "torch"
        with pytest.raises(OptionError, match=f"runs bimacosr and xnor, not {method}.*torch"):
            bimacosr.load(tmp_path / "model.safetensors", backend="native")
        with pytest.raises(ModelError, match=f"layers of {method}.*torch"):
            NativeBackend(packed)


class TestWhatIsRefused:
    def test_an_instruction_set_that_is_not_there(self, packed: PackedModel) -> None:
        with pytest.raises(BackendError, match=r"'mmx'; it has .*scalar"):
            NativeBackend(packed, "mmx")

    def test_one_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BIMACOSR_ISA", "scalar")
        assert choose_instruction_set() == "scalar"
        monkeypatch.setenv("BIMACOSR_ISA", "mmx")
        with pytest.raises(BackendError, match="mmx"):
            choose_instruction_set()

    def test_another_family(self, packed: PackedModel) -> None:
        with pytest.raises(ModelError, match="family 'round'"):
            NativeBackend(replace(packed, family="round"))

    @pytest.mark.parametrize(
        ("name", "array"),
        [
            ("first.weight", None),
            ("first.weight", np.zeros((64, 51, 3, 2), np.float16)),
            ("body.3.conv.signs", np.zeros((64, 9, 2), np.uint64)),
            ("body.3.conv.scale", np.zeros(64, np.float32)),
            ("body.0.conv.skip_connection.indices", np.full((2, 128), 64, np.uint16)),
            ("body.0.conv.skip_connection.values", np.zeros(127, np.float16)),
            ("stray", np.zeros(1, np.float16)),
        ],
        ids=str,
    )
    def test_arrays_that_do_not_fit(
        self, packed: PackedModel, name: str, array: np.ndarray | None
    ) -> None:
        tensors = dict(packed.tensors)
        if array is None:
            del tensors[name]
        else:
            tensors[name] = array
        with pytest.raises(ModelError, match=rf"damaged.*{name}"):
            NativeBackend(replace(packed, tensors=tensors))

    def test_options_that_do_not_go_together(self) -> None:
        with pytest.raises(OptionError, match="cpu"):
            bimacosr.load(backend="native", device="cuda")
        with pytest.raises(OptionError, match="isa is for the native"):
            bimacosr.load(backend="torch", isa="scalar")
