"""The packed file: bits in the documented order, and no damage that passes unnoticed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from bimacosr.errors import ModelError
from bimacosr.pack.format import (
    SCHEMA,
    PackedModel,
    pack_signs,
    read_packed,
    unpack_signs,
    write_packed,
)

Header = dict[str, Any]


class TestSigns:
    @given(
        c_out=st.integers(1, 5),
        c_in=st.integers(1, 200),
        kernel=st.sampled_from([(), (1, 1), (3, 3), (2, 5)]),
        seed=st.integers(0, 1000),
    )
    def test_unpacking_gives_the_signs_back(
        self, c_out: int, c_in: int, kernel: tuple[int, ...], seed: int
    ) -> None:
        weight = np.random.default_rng(seed).standard_normal((c_out, c_in, *kernel))
        words = pack_signs(weight)
        taps = int(np.prod(kernel))
        assert words.shape == (c_out, taps, -(-c_in // 64))
        assert words.dtype == np.uint64
        signs = unpack_signs(words, c_in)
        assert signs.dtype == np.float32
        np.testing.assert_array_equal(signs, np.sign(weight).reshape(c_out, c_in, taps))

    def test_bit_i_of_word_j_is_channel_64_j_plus_i(self) -> None:
        weight = -np.ones((1, 130), np.float32)
        weight[0, [0, 5, 63, 64, 129]] = 1
        word_0, word_1, word_2 = (int(word) for word in pack_signs(weight)[0, 0])
        assert word_0 == 1 | 1 << 5 | 1 << 63
        assert word_1 == 1
        assert word_2 == 1 << 1

    def test_taps_go_row_by_row(self) -> None:
        weight = -np.ones((2, 1, 2, 3), np.float32)
        weight[1, 0, 1, 0] = 1
        words = pack_signs(weight)
        assert words[0].ravel().tolist() == [0] * 6
        assert words[1].ravel().tolist() == [0, 0, 0, 1, 0, 0]

    def test_unused_bits_are_zero(self) -> None:
        words = pack_signs(np.ones((3, 70, 3, 3)))
        assert set(words[..., 0].ravel().tolist()) == {2**64 - 1}
        assert set(words[..., 1].ravel().tolist()) == {2**6 - 1}

    @pytest.mark.parametrize("value", [0.0, -0.0, np.nan])
    def test_a_weight_without_sign_is_refused(self, value: float) -> None:
        weight = np.ones((2, 3))
        weight[1, 2] = value
        with pytest.raises(ModelError, match="1-bit weight is 0 or NaN"):
            pack_signs(weight)


class TestFile:
    def test_what_is_written_is_read(self, packed: PackedModel, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        write_packed(path, packed)
        found = read_packed(path)
        assert found.tensors.keys() == packed.tensors.keys()
        for name, array in packed.tensors.items():
            assert found.tensors[name].dtype == array.dtype
            np.testing.assert_array_equal(found.tensors[name], array)
        of_memory = ("tensors", "mapping")
        for name in [f.name for f in dataclasses.fields(PackedModel) if f.name not in of_memory]:
            assert getattr(found, name) == json.loads(json.dumps(getattr(packed, name)))

    def test_the_same_model_is_written_as_the_same_bytes(
        self, packed: PackedModel, tmp_path: Path
    ) -> None:
        write_packed(tmp_path / "a", packed)
        shuffled = dict(reversed(packed.tensors.items()))
        write_packed(tmp_path / "b", dataclasses.replace(packed, tensors=shuffled))
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_nothing_else_is_left_in_the_folder(self, packed: PackedModel, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        path.write_bytes(b"an older one")
        write_packed(path, packed)
        assert list(tmp_path.iterdir()) == [path]
        assert read_packed(path).name == "small"

    def test_it_may_be_read_like_any_new_file(self, packed: PackedModel, tmp_path: Path) -> None:
        write_packed(tmp_path / "a", packed)
        (tmp_path / "b").touch()
        assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode

    def test_metadata_is_one_json_object(self, packed: PackedModel, tmp_path: Path) -> None:
        path = tmp_path / "model.safetensors"
        write_packed(path, packed)
        header = raw_header(path)
        assert list(header["__metadata__"]) == ["bimacosr"]
        entry = json.loads(header["__metadata__"]["bimacosr"])
        assert (entry["schema"], SCHEMA) == (1, 1)
        # the digest as docs/packed-format.md gives it, taken anew
        digest = hashlib.sha256()
        for name, array in sorted(load_file(path).items()):
            digest.update(f"{name}:{array.dtype.str}:{array.shape}".encode() + array.tobytes())
        assert entry["sha256"] == digest.hexdigest()
        kinds = {value["dtype"] for key, value in header.items() if key != "__metadata__"}
        assert kinds == {"U64", "F16", "U16"}


def raw_header(path: Path) -> Header:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header: Header = json.loads(content[8 : 8 + length])
    return header


@pytest.fixture
def written(packed: PackedModel, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    write_packed(path, packed)
    return path


@pytest.fixture
def rewrite(written: Path) -> Callable[[Callable[[Header], Any]], Path]:
    """Writes the file again with its `bimacosr` entry changed; a string is taken as it is."""

    def change(edit: Callable[[Header], Any]) -> Path:
        entry = json.loads(raw_header(written)["__metadata__"]["bimacosr"])
        result = edit(entry)
        text = result if isinstance(result, str) else json.dumps(entry)
        save_file(load_file(written), written, metadata={"bimacosr": text})
        return written

    return change


class TestDamage:
    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"none\.safetensors cannot be read: No such file"):
            read_packed(tmp_path / "none.safetensors")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"cannot be read|damaged"):
            read_packed(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n" + bytes(100)])
    def test_another_kind_of_file(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "model.safetensors"
        path.write_bytes(content)
        with pytest.raises(ModelError, match="damaged or no packed model"):
            read_packed(path)

    @pytest.mark.parametrize("keep", [0.0, 0.0001, 0.01, 0.5, 0.99, 0.9999])
    def test_a_file_cut_short(self, written: Path, keep: float) -> None:
        content = written.read_bytes()
        written.write_bytes(content[: int(len(content) * keep)])
        with pytest.raises(ModelError, match="damaged or no packed model"):
            read_packed(written)

    def test_bytes_behind_the_end(self, written: Path) -> None:
        written.write_bytes(written.read_bytes() + b"more")
        with pytest.raises(ModelError, match="damaged or no packed model"):
            read_packed(written)

    def test_one_flipped_bit(self, written: Path) -> None:
        content = bytearray(written.read_bytes())
        (length,) = struct.unpack("<Q", content[:8])
        for place in (8 + length, (8 + length + len(content)) // 2, len(content) - 1):
            damaged = bytearray(content)
            damaged[place] ^= 4
            written.write_bytes(damaged)
            with pytest.raises(ModelError, match="its checksum differs"):
                read_packed(written)

    @pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**12])
    def test_a_header_of_absurd_length(self, written: Path, length: int) -> None:
        written.write_bytes(struct.pack("<Q", length) + written.read_bytes()[8:])
        with pytest.raises(ModelError, match="damaged or no packed model"):
            read_packed(written)

    @pytest.mark.parametrize("size", [2**31, 2**62])
    def test_an_array_of_absurd_size(self, written: Path, size: int) -> None:
        header = json.dumps({"a": {"dtype": "U64", "shape": [size], "data_offsets": [0, 8 * size]}})
        written.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(16))
        with pytest.raises(ModelError, match="damaged or no packed model"):
            read_packed(written)

    def test_a_huge_file_is_not_even_opened(self, written: Path) -> None:
        with written.open("r+b") as file:
            file.truncate(2**30 + 1)
        with pytest.raises(ModelError, match="has 1073741825 bytes; a packed model has at most"):
            read_packed(written)

    @pytest.mark.parametrize("length", [2**23 + 1, 2**40])
    def test_a_header_that_is_too_long(self, written: Path, length: int) -> None:
        written.write_bytes(struct.pack("<Q", length) + written.read_bytes()[8:])
        with pytest.raises(ModelError, match=f"its header would have {length} bytes"):
            read_packed(written)

    @pytest.mark.parametrize("kind", ["float64", "int64", "bool", "uint8"])
    def test_arrays_of_types_that_are_not_ours(self, written: Path, kind: str) -> None:
        entry = raw_header(written)["__metadata__"]
        tensors = load_file(written)
        tensors["last.bias"] = tensors["last.bias"].astype(kind)
        save_file(tensors, written, metadata=entry)
        with pytest.raises(ModelError, match=r"array last\.bias is of type \w+, not F16, F32, U16"):
            read_packed(written)

    @pytest.mark.parametrize("offsets", [[0, 16], [8, 24], [-8, 8], [16, 0], [0, 2**63]])
    def test_places_that_overlap_or_leave_the_file(self, written: Path, offsets: list[int]) -> None:
        layout = {
            "a": {"dtype": "U64", "shape": [2], "data_offsets": [0, 16]},
            "b": {"dtype": "U64", "shape": [2], "data_offsets": offsets},
        }
        header = json.dumps(layout).encode()
        written.write_bytes(struct.pack("<Q", len(header)) + header + bytes(32))
        with pytest.raises(ModelError, match="damaged or no packed model"):
            read_packed(written)

    def test_renamed_array(self, written: Path) -> None:
        entry = raw_header(written)["__metadata__"]
        tensors = load_file(written)
        tensors["last.bias_"] = tensors.pop("last.bias")
        save_file(tensors, written, metadata=entry)
        with pytest.raises(ModelError, match="its checksum differs"):
            read_packed(written)

    def test_a_safetensors_file_of_something_else(self, written: Path) -> None:
        save_file({"a": np.zeros(3)}, written)
        with pytest.raises(ModelError, match="is a safetensors file but no packed bimacosr model"):
            read_packed(written)


def test_a_foreign_writer_need_not_align(written: Path, packed: PackedModel) -> None:
    content = written.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = content[8 : 8 + length].rstrip(b" ")
    header += b" " * (1 + -len(header) % 8)
    written.write_bytes(struct.pack("<Q", len(header)) + header + content[8 + length :])
    found = read_packed(written).tensors
    for name, array in packed.tensors.items():
        assert found[name].flags.aligned
        np.testing.assert_array_equal(found[name], array)


class TestHeader:
    @pytest.mark.parametrize("schema", [0, -1])
    def test_there_is_no_such_schema(self, rewrite: Any, schema: int) -> None:
        path = rewrite(lambda entry: entry.update(schema=schema))
        with pytest.raises(ModelError, match=f"there is no packed format {schema}"):
            read_packed(path)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("step", -1),
            ("step", True),
            ("step", 14.0),
            ("step", 10_000),
            ("autoencoder", []),
            ("one_bit", {"a": [1, 2, 3]}),
            ("one_bit", {"a": [0, 2]}),
            ("one_bit", {"a": [2**40, 2]}),
            ("one_bit", {"a": [True, 2]}),
            ("one_bit", ["a"]),
        ],
    )
    def test_a_younger_member_that_is_wrong(self, rewrite: Any, key: str, value: object) -> None:
        path = rewrite(lambda entry: entry.update({key: value}))
        with pytest.raises(ModelError, match=f"its header's {key} cannot be used"):
            read_packed(path)

    def test_younger_members_may_be_missing(self, rewrite: Any) -> None:
        def edit(entry: Header) -> None:
            for key in ("step", "autoencoder", "one_bit"):
                del entry[key]

        model = read_packed(rewrite(edit))
        assert (model.step, model.autoencoder, model.one_bit) == (None, {}, {})

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
    def test_numbers_that_are_none(self, rewrite: Any, number: str) -> None:
        path = rewrite(lambda entry: json.dumps(entry).replace("0.0", number, 1))
        with pytest.raises(ModelError, match="is no finite number"):
            read_packed(path)

    def test_a_newer_schema(self, rewrite: Any) -> None:
        path = rewrite(lambda entry: entry.update(schema=SCHEMA + 1))
        message = r"has packed format 2, this version reads up to 1; update bimacosr"
        with pytest.raises(ModelError, match=message):
            read_packed(path)

    def test_a_newer_schema_may_look_quite_different(self, rewrite: Any) -> None:
        path = rewrite(lambda _: json.dumps({"schema": 99, "name": ["other"]}))
        with pytest.raises(ModelError, match="has packed format 99"):
            read_packed(path)

    @pytest.mark.parametrize("text", ["", "{", "edge", "'a'", "[" * 100_000, '{"a": ' + "9" * 5000])
    def test_no_json(self, rewrite: Any, text: str) -> None:
        path = rewrite(lambda _: text)
        with pytest.raises(ModelError, match="its header is not JSON"):
            read_packed(path)

    @pytest.mark.parametrize("text", ["[]", "null", "3", '"text"', "{}"])
    def test_json_but_no_object_of_ours(self, rewrite: Any, text: str) -> None:
        path = rewrite(lambda _: text)
        with pytest.raises(ModelError, match="its header lacks schema, name, family, network"):
            read_packed(path)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("schema", "1"),
            ("name", None),
            ("family", 3),
            ("network", [1, 2]),
            ("binarize", "bimacosr"),
            ("diffusion", 0.5),
            ("license", {}),
            ("extra", []),
            ("sha256", 0),
        ],
    )
    def test_a_member_of_the_wrong_type(self, rewrite: Any, key: str, value: object) -> None:
        path = rewrite(lambda entry: entry.update({key: value}))
        with pytest.raises(ModelError, match=f"its header lacks {key}$"):
            read_packed(path)

    @pytest.mark.parametrize("key", ["schema", "name", "diffusion", "sha256"])
    def test_a_missing_member(self, rewrite: Any, key: str) -> None:
        path = rewrite(lambda entry: entry.pop(key) and None)
        with pytest.raises(ModelError, match=f"its header lacks {key}$"):
            read_packed(path)
