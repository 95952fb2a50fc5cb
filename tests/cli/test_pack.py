"""`bimacosr pack`: checkpoints of every kind, verifying, and one sentence for what goes wrong."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner, Result

from bimacosr.binarize.convert import binarize
from bimacosr.binarize.registry import METHODS
from bimacosr.checkpoints.load import load_unet
from bimacosr.cli.pack import pack
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.networks import vq_f4
from bimacosr.models.catalogue import MODELS
from bimacosr.networks.edge import EdgeNet
from bimacosr.pack.format import read_packed
from bimacosr.pack.modules import rebuild_network
from tests import paper

CONFIGS = Path(__file__).parents[3] / "shared/reference/configs_used.json"
EDGE = BinarizeSettings(
    rank=3,
    sign_of_zero=1,
    sign_gradient="bireal_relative",
    keep_float_conv=(KeepFloatRule(keywords=("first", "last")),),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(pack, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(*arguments: object) -> str:
    """The sentence of a command that fails."""
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture
def checkpoint(folder: Path) -> Path:
    return paper.write(folder / "student.pth", paper.student("bimacosr"))


class TestStudents:
    @pytest.mark.parametrize("method", sorted(METHODS))
    def test_every_method(self, folder: Path, method: str) -> None:
        paper.write(folder / "student.pth", paper.student(method))
        told = [] if method in ("bimacosr", "bidm") else ["--method", method]
        result = run("student.pth", *told, "-o", "model.safetensors", "--license", "CC0-1.0")
        assert result.exit_code == 0, result.stderr
        assert f"model.safetensors is sound: student, family swin, method {method}, 73 1-bit" in (
            result.stdout
        )
        assert "time step 14, licence CC0-1.0;" in result.stdout
        model = read_packed(folder / "model.safetensors")
        assert model.network == json.loads(json.dumps(asdict(paper.UNET)))
        assert model.diffusion["steps"] == 15
        assert model.autoencoder["release"] == "autoencoder_vq_f4"
        assert model.extra == {"packed_from": "student.pth"}
        small = rebuild_network(model)
        x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
        out = small(x, torch.tensor([14]), x)
        assert out.isfinite().all()
        assert out.std() > 0.01

    def test_many_steps(self, checkpoint: Path) -> None:
        assert run(checkpoint, "-o", "one.safetensors").exit_code == 0
        result = run(checkpoint, "-o", "many.safetensors", "--multi-step", "--name", "every")
        assert "is sound: every, family swin" in result.stdout
        assert "time step" not in result.stdout
        assert Path("many.safetensors").stat().st_size > Path("one.safetensors").stat().st_size
        network = rebuild_network(read_packed(Path("many.safetensors")))
        x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
        first, second = (network(x, torch.tensor([t]), x) for t in (3, 14))
        assert not torch.allclose(first, second, atol=1e-3)

    @pytest.mark.skipif(not CONFIGS.is_file(), reason=f"no official configurations at {CONFIGS}")
    def test_a_configuration(self, folder: Path, checkpoint: Path) -> None:
        content = json.loads(CONFIGS.read_text())["Kai-Liu001/BiMaCoSR/configs/BiMaCoSR.yaml"]
        shape = json.loads(json.dumps(asdict(paper.UNET)))
        for part in ("model", "model_teacher"):
            known = content[part]["params"]
            known |= {key: value for key, value in shape.items() if key in known}
        for kind in ("conv", "linear"):
            content["model"]["params"][f"{kind}_quant_config"]["rank"] = 4
        content["diffusion"]["params"] |= {"steps": 9, "kappa": 1.5}
        content["autoencoder"]["params"]["n_embed"] = 64
        plain = json.loads(json.dumps(content | {"stray": 1}))  # no list twice: no alias in YAML
        (folder / "config.yaml").write_text(yaml.safe_dump(plain))
        result = run(checkpoint, "--config", "config.yaml", "-o", "model.safetensors")
        assert result.exit_code == 0, result.stderr
        assert result.stderr == "config.yaml has settings that are not known here: stray\n"
        model = read_packed(folder / "model.safetensors")
        assert model.step == 8
        assert (model.diffusion["steps"], model.diffusion["kappa"]) == (9, 1.5)
        assert model.autoencoder["release"] is None
        assert model.autoencoder["settings"]["n_embed"] == 64

    def test_a_configuration_that_does_not_fit(self, folder: Path, checkpoint: Path) -> None:
        (folder / "other.yaml").write_text("model: 3\n")
        message = refused(checkpoint, "--config", "other.yaml", "-o", "model.safetensors")
        assert "the configuration other.yaml cannot be used" in message

    def test_the_autoencoder_is_named_with_its_shape(self, checkpoint: Path) -> None:
        run(checkpoint, "-o", "model.safetensors")
        stored = read_packed(Path("model.safetensors")).autoencoder["settings"]
        assert stored == json.loads(json.dumps(asdict(vq_f4())))


class TestEdgeModels:
    def test_its_state_is_recognised(self, folder: Path) -> None:
        torch.manual_seed(9)
        student = binarize(EdgeNet(16, 2, 2), EDGE)
        torch.save({"state_dict": student.state_dict()}, folder / "edge.pth")
        result = run("edge.pth", "-o", "model.safetensors")
        assert "family edge, method bimacosr, 2 1-bit layers, 4,608 1-bit weights" in result.stdout
        model = read_packed(folder / "model.safetensors")
        assert model.network == {"channels": 16, "blocks": 2, "scale": 2}
        assert model.binarize == json.loads(json.dumps(asdict(EDGE)))
        assert model.diffusion == {"kappa": 0.0, "predict_type": "residual"}
        assert (model.step, model.autoencoder) == (None, {})

    def test_another_shape_and_float_layers_are_refused(self, folder: Path) -> None:
        state = binarize(EdgeNet(16, 2, 2), EDGE).state_dict()
        torch.save({**state, "last.bias": torch.zeros(9)}, folder / "edge.pth")
        message = refused("edge.pth", "-o", "m.safetensors")
        assert "last.bias is (9,) instead of (12,)" in message
        torch.save(EdgeNet(16, 2, 2).state_dict(), folder / "float.pth")
        assert "its layers are float" in refused("float.pth", "-o", "m.safetensors")
        message = refused("edge.pth", "--multi-step", "-o", "m.safetensors")
        assert "takes no configuration, method or steps" in message


def test_the_autoencoder(folder: Path) -> None:
    paper.write(folder / "vq.pth", paper.autoencoder())
    result = run("vq.pth", "-o", "vq.safetensors", "--license", "CC0-1.0")
    assert "vq.safetensors is sound: vq, family vq, 157 arrays in float32" in result.stdout
    assert run("--verify", "vq.safetensors").stdout == result.stdout
    state = paper.autoencoder().state_dict()
    packed = read_packed(folder / "vq.safetensors").tensors
    assert all(torch.equal(torch.tensor(packed[k]), value) for k, value in state.items())


class TestVerify:
    @pytest.mark.parametrize("name", MODELS)
    def test_the_shipped_models(self, name: str) -> None:
        result = run("--verify", MODELS[name].path)
        assert result.exit_code == 0
        assert f"is sound: {name}, family edge" in result.stdout
        assert result.stdout.count("\n") == 1

    def test_a_damaged_file(self, folder: Path) -> None:
        content = bytearray(MODELS["edge-x4"].path.read_bytes())
        content[-1] ^= 1
        (folder / "bad.safetensors").write_bytes(content)
        assert "bad.safetensors is damaged (its checksum" in refused("--verify", "bad.safetensors")

    def test_a_checkpoint(self, checkpoint: Path) -> None:
        assert "damaged or no packed model" in refused("--verify", checkpoint)


class TestRefused:
    def test_a_float_network(self, folder: Path) -> None:
        paper.write(folder / "sinsr.pth", paper.unet())
        message = refused("sinsr.pth", "-o", "model.safetensors")
        assert "sinsr.pth cannot be packed: it is a float network" in message
        assert not (folder / "model.safetensors").exists()

    def test_an_unclear_method(self, folder: Path) -> None:
        paper.write(folder / "student.pth", paper.student("bbcu"))
        assert "reactnet or bbcu" in refused("student.pth", "-o", "model.safetensors")
        message = refused("student.pth", "--method", "nonsense", "-o", "model.safetensors")
        assert "no binarization method 'nonsense'" in message

    def test_options_of_a_student_for_an_autoencoder(self, folder: Path) -> None:
        paper.write(folder / "vq.pth", paper.autoencoder())
        message = refused("vq.pth", "--method", "xnor", "-o", "model.safetensors")
        assert "an autoencoder takes no configuration, method or steps" in message

    def test_a_missing_checkpoint(self) -> None:
        assert "none.pth cannot be read" in refused("none.pth", "-o", "model.safetensors")

    def test_the_checkpoint_itself_as_result(self, checkpoint: Path) -> None:
        before = checkpoint.read_bytes()
        assert "would replace" in refused(checkpoint, "-o", "student.pth")
        assert checkpoint.read_bytes() == before
        assert load_unet(checkpoint).binarize is not None

    def test_configuration_and_method(self, checkpoint: Path) -> None:
        message = refused(checkpoint, "--config", "a.yaml", "--method", "xnor", "-o", "m")
        assert "leave out the method" in message

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["a.pth"], "-o model.safetensors"),
            (["a", "--verify", "-o", "b"], "--verify goes with a packed FILE alone"),
            (["a", "--verify", "--name", "b"], "--verify goes with a packed FILE alone"),
            ([], "Missing argument"),
        ],
    )
    def test_usage(self, arguments: list[str], told: str) -> None:
        result = run(*arguments)
        assert result.exit_code == 2
        assert told in result.stderr

    def test_without_pytorch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "torch", None)
        for name in [name for name in sys.modules if name.startswith("bimacosr.pack.")]:
            monkeypatch.delitem(sys.modules, name)
        message = refused("--verify", MODELS["edge-x4"].path)
        assert "packing needs PyTorch" in message
        assert "pip install 'bimacosr[torch]'" in message
