"""From file to network: what is refused, with which words, and what loading leaves alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bimacosr.binarize.convert import binarize
from bimacosr.checkpoints.load import assemble_unet, load_autoencoder, load_unet
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.networks import AutoencoderSettings, UNetSettings
from bimacosr.errors import ModelError
from bimacosr.networks.unet import build_unet
from bimacosr.networks.vq import build_autoencoder

State = dict[str, Tensor]

RULE = KeepFloatRule(keywords=("input_blocks.0.0", "out.2"))
STUDENT = BinarizeSettings(rank=4, keep_float_conv=(RULE,))


@pytest.fixture
def student_state(unet_settings: UNetSettings) -> State:
    torch.manual_seed(2)
    return binarize(build_unet(unet_settings), STUDENT).state_dict()


def run(network: torch.nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    x, lq = torch.randn(2, 1, 3, 16, 16, generator=generator)
    with torch.no_grad():
        out: Tensor = network(x, torch.tensor([3]), lq)
    return out


class TestWhatComesBack:
    def test_the_same_network(
        self, tmp_path: Path, unet_settings: UNetSettings, unet_state: State
    ) -> None:
        original = build_unet(unet_settings).eval()
        original.load_state_dict(unet_state)
        save_file(unet_state, tmp_path / "a.safetensors")
        loaded = load_unet(tmp_path / "a.safetensors")
        assert loaded.settings == unet_settings
        assert not loaded.network.training
        assert torch.equal(run(loaded.network), run(original))

    def test_no_random_number_is_drawn(self, student_state: State) -> None:
        before = torch.get_rng_state()
        assemble_unet(student_state)
        assert torch.equal(before, torch.get_rng_state())

    def test_it_can_be_trained_and_moved(self, student_state: State) -> None:
        network = assemble_unet(student_state).network.double()
        assert all(p.requires_grad for p in network.parameters())
        x = torch.zeros(1, 3, 16, 16, dtype=torch.float64)
        network(x, torch.tensor([3]), x).sum().backward()
        assert all(not value.is_meta for value in network.state_dict().values())

    def test_a_state_saved_again_loads_again(self, student_state: State) -> None:
        again = assemble_unet(student_state).network.state_dict()
        assert again.keys() == student_state.keys()
        assert all(torch.equal(again[key], value) for key, value in student_state.items())


class TestKeysWithoutEffect:
    def test_computed_buffers_are_computed(self, student_state: State) -> None:
        endings = (".attn_mask", ".relative_position_index")
        bare = {k: v for k, v in student_state.items() if not k.endswith(endings)}
        assert len(bare) < len(student_state)
        wanted = assemble_unet(student_state)
        loaded = assemble_unet(bare, settings=wanted.settings)
        state = loaded.network.state_dict()
        for key, value in student_state.items():
            assert torch.equal(state[key], value), key

    def test_averaged_masks_are_not_read(self, student_state: State) -> None:
        spoilt = {
            key: value + 1 if key.endswith("attn_mask") else value
            for key, value in student_state.items()
        }
        assert torch.equal(
            run(assemble_unet(spoilt).network), run(assemble_unet(student_state).network)
        )

    def test_parameters_that_no_forward_reads_may_be_missing(self, student_state: State) -> None:
        offset = "input_blocks.3.0.in_layers.2.move0.bias"
        threshold = "time_embed.0.channel_threshold"
        less = {k: v for k, v in student_state.items() if k not in (offset, threshold)}
        loaded = assemble_unet(less, binarize=STUDENT)
        assert loaded.network.state_dict()[offset].abs().sum() == 0
        assert torch.equal(run(loaded.network), run(assemble_unet(student_state).network))

    @pytest.mark.parametrize("method", ["reactnet", "bbcu"])
    def test_where_they_are_read_they_are_needed(
        self, unet_settings: UNetSettings, method: str
    ) -> None:
        settings = replace(STUDENT, method=method)
        state = binarize(build_unet(unet_settings), settings).state_dict()
        del state["input_blocks.3.0.in_layers.2.move0.bias"]
        with pytest.raises(ModelError, match=r"in_layers\.2\.move0\.bias is missing"):
            assemble_unet(state, binarize=settings)


class TestMismatch:
    def test_rank(self, tmp_path: Path, student_state: State) -> None:
        torch.save(student_state, tmp_path / "student.pth")
        with pytest.raises(ModelError) as raised:
            load_unet(tmp_path / "student.pth", binarize=replace(STUDENT, rank=8))
        text = str(raised.value)
        assert text.startswith(f"{tmp_path / 'student.pth'} cannot be loaded: its keys do not fit")
        assert "time_embed.0.lora.B.weight is (4, 32) instead of (8, 32)" in text
        assert text.endswith("the checkpoint has rank 4, the config says 8")

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"low_rank": False}, "the checkpoint has low_rank True, the config says False"),
            ({"sparse": False}, "the checkpoint has sparse True, the config says False"),
            ({"linear": False}, "the checkpoint has linear True, the config says False"),
            ({"keep_float_conv": ()}, "the checkpoint has keep_float_conv .*out.2"),
            ({"method": "xnor"}, "has the keys of bimacosr, the config says xnor"),
        ],
        ids=str,
    )
    def test_binarization(self, student_state: State, change: dict[str, object], told: str) -> None:
        settings = replace(STUDENT, **change)  # type: ignore[arg-type]
        with pytest.raises(ModelError, match=told):
            assemble_unet(student_state, binarize=settings)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"swin_depth": 4}, "the checkpoint has swin_depth 2, the config says 4"),
            ({"window_size": 4}, "the checkpoint has window_size 8, the config says 4"),
            ({"image_size": 32, "attention_resolutions": (32,)}, "has image_size 16, the config s"),
            ({"mlp_ratio": 4.0}, "the checkpoint has mlp_ratio 2.0, the config says 4.0"),
            ({"num_head_channels": 8}, "the checkpoint has num_head_channels 16"),
            ({"model_channels": 64}, "the checkpoint has model_channels 32, the config says 64"),
        ],
        ids=str,
    )
    def test_shape(
        self,
        unet_settings: UNetSettings,
        unet_state: State,
        change: dict[str, object],
        told: str,
    ) -> None:
        settings = replace(unet_settings, **change)  # type: ignore[arg-type]
        with pytest.raises(ModelError, match=told):
            assemble_unet(unet_state, settings=settings)

    def test_a_float_network_is_no_student(self, unet_state: State) -> None:
        with pytest.raises(ModelError, match="has the keys of a float network or xnor or horq or"):
            assemble_unet(unet_state, binarize=STUDENT)

    def test_missing_surplus_and_the_rest_counted(self, unet_state: State) -> None:
        for i in range(4):
            unet_state[f"extra.{i}"] = torch.ones(1)
        del unet_state["out.2.bias"]
        with pytest.raises(
            ModelError,
            match=r"out\.2\.bias is missing; extra\.0 is too much; extra\.1 .*; and 2 more\)$",
        ):
            assemble_unet(unet_state)

    def test_whole_numbers_are_no_weights(self, unet_state: State) -> None:
        unet_state["out.2.bias"] = unet_state["out.2.bias"].long()
        with pytest.raises(ModelError, match=r"out\.2\.bias holds whole numbers"):
            assemble_unet(unet_state)

    @pytest.mark.parametrize("index", [-1.0, 1e6])
    def test_sparse_entries_outside_of_the_layer(self, student_state: State, index: float) -> None:
        student_state["time_embed.0.skip_connection.indices_float"][0, 0] = index
        with pytest.raises(
            ModelError, match=r"time_embed\.0\.skip_connection\.indices_float points outside"
        ):
            assemble_unet(student_state)

    def test_autoencoder_for_denoiser_and_back(
        self, tmp_path: Path, unet_state: State, vq_state: State
    ) -> None:
        torch.save(unet_state, tmp_path / "unet.pth")
        torch.save(vq_state, tmp_path / "vq.pth")
        with pytest.raises(ModelError, match="it is an autoencoder, not a denoiser"):
            load_unet(tmp_path / "vq.pth")
        with pytest.raises(ModelError, match="it is a denoiser, not an autoencoder"):
            load_autoencoder(tmp_path / "unet.pth")


class TestAutoencoder:
    def test_the_same_network(
        self, tmp_path: Path, vq_settings: AutoencoderSettings, vq_state: State
    ) -> None:
        original = build_autoencoder(vq_settings).eval()
        original.load_state_dict(vq_state)
        torch.save({"state_dict": vq_state}, tmp_path / "vq.pth")
        loaded = load_autoencoder(tmp_path / "vq.pth")
        assert not loaded.training
        picture = torch.linspace(-1, 1, 3 * 64).reshape(1, 3, 8, 8)
        with torch.no_grad():
            assert torch.equal(loaded.encode(picture), original.encode(picture))

    def test_mismatch(
        self, tmp_path: Path, vq_settings: AutoencoderSettings, vq_state: State
    ) -> None:
        torch.save(vq_state, tmp_path / "vq.pth")
        with pytest.raises(ModelError, match="the checkpoint has n_embed 16, the config says 32"):
            load_autoencoder(tmp_path / "vq.pth", settings=replace(vq_settings, n_embed=32))

    def test_levels_of_different_depth(
        self, tmp_path: Path, vq_settings: AutoencoderSettings, vq_state: State
    ) -> None:
        torch.save(vq_state, tmp_path / "vq.pth")
        settings = replace(vq_settings, level_res_blocks=(1, 2))
        with pytest.raises(ModelError, match="equally many at each level"):
            load_autoencoder(tmp_path / "vq.pth", settings=settings)
