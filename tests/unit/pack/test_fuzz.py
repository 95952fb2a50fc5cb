"""What `scripts/fuzz_packed` runs, without its guide, always with the same cases."""

from __future__ import annotations

import random
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from bimacosr.pack.format import read_packed, write_packed

SCRIPTS = Path(__file__).parents[3] / "scripts"
CASES = 60


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS)
    return import_module("fuzzing.readers")


@pytest.fixture
def damage(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS)
    return import_module("fuzzing.damage")


def test_damaged_files_are_refused_in_one_sentence(
    readers: ModuleType, damage: ModuleType, tmp_path: Path
) -> None:
    files = readers.originals(tmp_path)
    sound = [path.read_bytes() for path in files.values()]
    found: Counter[str] = Counter()
    for seed in range(CASES):
        chance = random.Random(seed)
        case = tmp_path / f"case-{seed}"
        case.write_bytes(damage.damaged(chance.choice(sound), chance))
        found[readers.load(case, files["vq"])] += 1
    assert found.total() == CASES
    # the damage reaches every reader that sees names, types and shapes
    assert min(found["file"], found["layers"], found["native"] + found["torch"]) >= 3


def test_a_part_is_changed_behind_a_right_checksum(
    readers: ModuleType, damage: ModuleType, tmp_path: Path
) -> None:
    files = readers.originals(tmp_path)
    found = set()
    for seed in range(8):
        flipped = lambda part: part[:-1] + bytes([part[-1] ^ 1])  # noqa: E731
        content = damage.damaged_part(files["edge"].read_bytes(), random.Random(seed), flipped)
        assert content != files["edge"].read_bytes()
        case = tmp_path / f"case-{seed}"
        case.write_bytes(content)
        found.add(readers.load(case, files["vq"]))
    assert "loaded" in found


@pytest.mark.parametrize("name", ["edge", "folded", "whole", "vq"])
def test_the_sound_files_load(
    readers: ModuleType, damage: ModuleType, tmp_path: Path, name: str
) -> None:
    files = readers.originals(tmp_path)
    assert readers.load(files[name], files["vq"]) == "loaded"
    # taken apart and put together, it is still sound: damage alone makes the difference
    joined = tmp_path / "joined"
    joined.write_bytes(damage.Parts(files[name].read_bytes()).join(lambda _: None))
    assert readers.load(joined, files["vq"]) == "loaded"


@pytest.mark.parametrize("part", ["lora.A.weight", "lora.B.weight", "skip_connection.values"])
def test_a_branch_without_its_half_is_refused(
    readers: ModuleType, tmp_path: Path, part: str
) -> None:
    """Found by fuzzing: an array of a branch is missing, and everything else is as it was."""
    files = readers.originals(tmp_path)
    model = read_packed(files["folded"])
    del model.tensors[f"middle_block.1.blocks.1.attn.proj.{part}"]
    case = tmp_path / "case"
    write_packed(case, model)
    assert readers.load(case, files["vq"]) == "native"
