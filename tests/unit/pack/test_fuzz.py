"""A short run of `scripts/fuzz_packed.py`, always with the same cases."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts/fuzz_packed.py"
CASES = 60


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_packed", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_damaged_files_are_refused_in_one_sentence(script: ModuleType, tmp_path: Path) -> None:
    sound = script.originals(tmp_path)
    found = Counter(
        script.run_case(seed, sound, tmp_path / "case.safetensors") for seed in range(CASES)
    )
    assert found.total() == CASES
    # the damage reaches every reader
    assert min(found["numpy"], found["layers"], found["torch"]) >= 3


def test_the_sound_files_load(script: ModuleType, tmp_path: Path) -> None:
    for content in script.originals(tmp_path):
        path = tmp_path / "sound.safetensors"
        path.write_bytes(content)
        assert script.load(path) == "loaded"
        # taken apart and put together, it is still sound: damage alone makes the difference
        path.write_bytes(script.Parts(content).join(lambda _: None))
        assert script.load(path) == "loaded"
