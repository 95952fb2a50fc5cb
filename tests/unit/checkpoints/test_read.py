"""Checkpoint files: what is read out of them, and that nothing in them is ever run."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bimacosr.checkpoints.read import read_state
from bimacosr.errors import ModelError

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.index": torch.arange(3)}


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor] = STATE) -> None:
    assert list(found) == list(wanted)
    for key, tensor in wanted.items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key], tensor)


class TestForms:
    @pytest.mark.parametrize("legacy", [False, True])
    @pytest.mark.parametrize("wrapped", [False, True])
    def test_pytorch(self, tmp_path: Path, legacy: bool, wrapped: bool) -> None:
        content = {"iters_start": 3, "state_dict": STATE} if wrapped else STATE
        path = tmp_path / "a.pth"
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        assert_same(read_state(path))

    def test_safetensors_by_any_name(self, tmp_path: Path) -> None:
        for name in ("a.safetensors", "b.pth"):
            save_file(STATE, tmp_path / name)
            assert_same(dict(sorted(read_state(tmp_path / name).items(), reverse=True)))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_precisions_become_float32(self, tmp_path: Path, dtype: torch.dtype) -> None:
        torch.save({"w": torch.tensor([0.5, -2.0], dtype=dtype)}, tmp_path / "a.pth")
        assert_same(read_state(tmp_path / "a.pth"), {"w": torch.tensor([0.5, -2.0])})

    def test_parameters_lose_their_gradient(self, tmp_path: Path) -> None:
        torch.save({"w": torch.nn.Parameter(torch.ones(2))}, tmp_path / "a.pth")
        assert not read_state(tmp_path / "a.pth")["w"].requires_grad

    @pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
    def test_prefixes_are_stripped(self, tmp_path: Path, prefix: str) -> None:
        torch.save({prefix + key: value for key, value in STATE.items()}, tmp_path / "a.pth")
        assert_same(read_state(tmp_path / "a.pth"))

    def test_a_compiled_part_loses_its_prefix(self, tmp_path: Path) -> None:
        torch.save({"x._orig_mod.w": torch.ones(1), "b": torch.ones(1)}, tmp_path / "a.pth")
        assert list(read_state(tmp_path / "a.pth")) == ["x.w", "b"]

    def test_a_prefix_on_some_keys_only_is_no_prefix(self, tmp_path: Path) -> None:
        state = {"module.a": torch.ones(1), "b": torch.ones(1)}
        torch.save(state, tmp_path / "a.pth")
        with pytest.raises(ModelError, match=r"mixes keys with and without .*\(module.a and b\)"):
            read_state(tmp_path / "a.pth")

    def test_two_networks_in_one(self, tmp_path: Path) -> None:
        torch.save({"a": torch.ones(1), "_orig_mod.a": torch.ones(1)}, tmp_path / "a.pth")
        with pytest.raises(ModelError, match="two networks"):
            read_state(tmp_path / "a.pth")


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


class TestHostile:
    @pytest.mark.parametrize("legacy", [False, True])
    def test_code_is_not_run(self, tmp_path: Path, legacy: bool) -> None:
        canary, path = tmp_path / "canary", tmp_path / "a.pth"
        content = {"w": torch.ones(1), "evil": Evil(canary)}
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(ModelError, match=r"asks for \w+\.system, and loading that would run"):
            read_state(path)
        assert not canary.exists()

    def test_a_bare_pickle_is_not_run(self, tmp_path: Path) -> None:
        canary, path = tmp_path / "canary", tmp_path / "a.pth"
        path.write_bytes(pickle.dumps({"w": Evil(canary)}))
        with pytest.raises(ModelError, match=r"a\.pth"):
            read_state(path)
        assert not canary.exists()

    def test_the_canary_works(self, tmp_path: Path) -> None:
        """Or the tests above would prove nothing."""
        pickle.loads(pickle.dumps(Evil(tmp_path / "canary")))
        assert (tmp_path / "canary").exists()

    def test_a_zip_that_unpacks_to_more_than_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "bomb.pth"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(1 << 20))
        with pytest.raises(ModelError, match="unpack to 1048576 bytes"):
            read_state(path)

    def test_a_tensor_larger_than_its_numbers(self, tmp_path: Path) -> None:
        torch.save({"w": torch.ones(1).expand(1 << 40)}, tmp_path / "a.pth")
        with pytest.raises(ModelError, match="w claims more numbers than the file holds"):
            read_state(tmp_path / "a.pth")

    def test_sparse_tensors(self, tmp_path: Path) -> None:
        torch.save({"w": torch.ones(2, 2).to_sparse()}, tmp_path / "a.pth")
        with pytest.raises(ModelError, match="w is no ordinary array"):
            read_state(tmp_path / "a.pth")

    def test_complex_numbers(self, tmp_path: Path) -> None:
        torch.save({"w": torch.ones(2, dtype=torch.complex64)}, tmp_path / "a.pth")
        with pytest.raises(ModelError, match="w is no ordinary array"):
            read_state(tmp_path / "a.pth")

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_numbers_that_are_none(self, tmp_path: Path, bad: float) -> None:
        torch.save({"a": torch.ones(2), "x.w": torch.tensor([1.0, bad])}, tmp_path / "a.pth")
        with pytest.raises(ModelError, match=r"x\.w holds NaN or infinity"):
            read_state(tmp_path / "a.pth")


class TestNoCheckpoint:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"none\.pth cannot be read: No such file"):
            read_state(tmp_path / "none.pth")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="cannot be read"):
            read_state(tmp_path)

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "a.pth").touch()
        with pytest.raises(ModelError, match=r"a\.pth is empty"):
            read_state(tmp_path / "a.pth")

    @pytest.mark.parametrize("text", ["Not Found", "<!DOCTYPE html><html>", "version https://git"])
    def test_text(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "a.pth").write_text(text)
        with pytest.raises(ModelError, match=r"a\.pth is no checkpoint \(it begins with"):
            read_state(tmp_path / "a.pth")

    @pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
    def test_cut_short(self, tmp_path: Path, part: float) -> None:
        state = {"w": torch.ones(1000), "v": torch.ones(1000)}
        for name in ("zip.pth", "legacy.pth", "a.safetensors"):
            path = tmp_path / name
            if name.endswith("tensors"):
                save_file(state, path)
            else:
                torch.save(state, path, _use_new_zipfile_serialization=name == "zip.pth")
            whole = path.read_bytes()
            path.write_bytes(whole[: int(part * len(whole))])
            with pytest.raises(ModelError, match=r"cut short or damaged|holds more than weights"):
                read_state(path)

    def test_a_damaged_directory_of_the_zip(self, tmp_path: Path) -> None:
        """Wherever a byte is wrong, one sentence says so, or the numbers are right after all."""
        path = tmp_path / "a.pth"
        torch.save(STATE, path)
        whole, refused = path.read_bytes(), 0
        for place in range(len(whole) - 100, len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            try:
                assert_same(read_state(path))
            except ModelError:
                refused += 1
        assert refused > 30

    def test_safetensors_with_an_endless_header(self, tmp_path: Path) -> None:
        (tmp_path / "a.safetensors").write_bytes((1 << 62).to_bytes(8, "little") + b"{" + bytes(50))
        with pytest.raises(ModelError, match="cut short or damaged"):
            read_state(tmp_path / "a.safetensors")

    def test_another_zip(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
            archive.writestr("readme.txt", "hello")
        with pytest.raises(ModelError, match="cut short or damaged"):
            read_state(tmp_path / "a.pth")

    def test_one_flipped_bit(self, tmp_path: Path) -> None:
        """PyTorch itself would read another number, and say nothing."""
        path = tmp_path / "a.pth"
        torch.save({"w": torch.full((100,), 3.0)}, path)
        whole = bytearray(path.read_bytes())
        place = whole.index(torch.full((4,), 3.0).numpy().tobytes())
        whole[place] ^= 1
        path.write_bytes(whole)
        assert torch.load(path)["w"][0] != 3
        with pytest.raises(ModelError, match=r"the checksum of a/data/0 differs"):
            read_state(path)

    def test_files_without_checksums_are_read(self, tmp_path: Path) -> None:
        torch.serialization.set_crc32_options(False)
        try:
            torch.save(STATE, tmp_path / "a.pth")
        finally:
            torch.serialization.set_crc32_options(True)
        assert_same(read_state(tmp_path / "a.pth"))

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ([torch.ones(1)], "holds a list"),
            (torch.ones(1), "holds a Tensor"),
            ({}, "holds no tensors"),
            ({"epoch": 3}, "holds no tensors"),
            ({"state_dict": {}}, "holds no tensors"),
            ({"w": torch.ones(1), "step": 3}, "its entry 'step' is a int"),
            ({3: torch.ones(1)}, "its entry 3 is a Tensor"),
        ],
    )
    def test_something_else(self, tmp_path: Path, content: Any, told: str) -> None:
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(ModelError, match=told):
            read_state(tmp_path / "a.pth")
