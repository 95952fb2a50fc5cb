"""Every file and every group of entries of the golden reference data is named by a golden test.

This is read off the tests' text: a literal, or an f-string with anything in its gaps, that is a
file's name, an entry's name, or its beginning up to a slash. An entry also counts as named if it is
a row of a table of the `.json` beside it, and the table is.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from tests.golden.reference import FOLDER

TESTS = sorted((Path(__file__).parents[1] / "golden").glob("*.py"))
JSON = sorted(FOLDER.rglob("*.json"))
STORED = sorted(FOLDER.rglob("*.safetensors"))

pytestmark = pytest.mark.skipif(not JSON, reason=f"the golden reference data are not at {FOLDER}")

DEVIATION = "how far the official float32 run is from the official float64 one"
WORDS = "says in words what the tests do"
NOT_COMPARED = {
    "degradation": {"chain_input": WORDS, "f32": DEVIATION, "kernels": WORDS, "steps": WORDS},
    "diffusion": {
        "f32": DEVIATION,
        "std": "of the stored tensors themselves",
        "randn_calls": "how often the official samplers draw; ours are told their noise by step",
        "randn_rule": WORDS,
    },
    "keys_checkpoint_forms": {
        "resshift_realsrx4_s15_v1.pth, SinSR_v1.pth": WORDS,
        "trainer EMA file (ema_ckpts/ema_model_<it>.pth, best.pth, last.pth, psnr.pth, "
        "lpips.pth)": WORDS,
        "ckpts/best.pth": WORDS,
        "strictness": WORDS,
        "resume": WORDS,
    },
    "sampler": {
        "imread_rgba": WORDS,
        "noise_draws": WORDS,
    },
    "unet_fp_full": {"weights": WORDS},
    "unet_fp_tiny": {"weights": WORDS},
    "vq_full": {"notes": WORDS, "weights": WORDS},
    "vq_tiny": {"notes": WORDS, "weights": WORDS},
}
"""Top-level entries of `.json` files that no test compares, and why."""

LOOPED_OVER = ("configs_used",)  # its tests run for every entry there is


def literals(tree: ast.AST) -> Iterator[str]:
    """Strings of a module as patterns; those that begin with a gap or a dot say nothing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
            yield re.escape(node.value)
        elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
            parts = [
                re.escape(str(part.value)) if isinstance(part, ast.Constant) else "[^/]+"
                for part in node.values
            ]
            yield "".join(parts)


@cache
def patterns(test: Path) -> frozenset[str]:
    return frozenset(literals(ast.parse(test.read_text())))


def naming(file: Path) -> set[str]:
    """All strings of the tests that name `file`, with or without its ending."""
    stem = str(file.relative_to(FOLDER).with_suffix(""))
    names = {re.escape(stem), re.escape(stem + file.suffix)}
    found: set[str] = set()
    for test in TESTS:
        if names & patterns(test):
            found |= patterns(test)
    return found


def is_named(entry: str, by: set[str]) -> bool:
    """Whether a string is the entry, or its beginning up to a slash."""
    return any(re.match(f"{pattern.removesuffix('/')}(/|$)", entry) for pattern in by)


def contents(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_there_are_no_other_files() -> None:
    others = {file for file in FOLDER.rglob("*") if file.is_file()} - {*JSON, *STORED}
    assert {file.name for file in others if file.suffix != ".pyc"} == {"README.md", "synth.py"}


@pytest.mark.parametrize("file", [*JSON, *STORED], ids=lambda file: file.name)
def test_the_file_is_named(file: Path) -> None:
    assert naming(file)


@pytest.mark.parametrize("file", STORED, ids=lambda file: file.stem)
def test_every_tensor_is_named(file: Path) -> None:
    named = naming(file)
    tables = [
        table
        for key, table in contents(file.with_suffix(".json")).items()
        if isinstance(table, dict) and is_named(key, named)
    ]
    rows = {re.escape(row) for table in tables for row in table}
    with safe_open(file, "np") as stored:
        lacking = [key for key in stored.keys() if not is_named(key, named | rows)]  # noqa: SIM118
    assert lacking == []


@pytest.mark.parametrize("file", JSON, ids=lambda file: file.stem)
def test_every_part_of_a_json_file_is_named_or_excused(file: Path) -> None:
    if file.stem in LOOPED_OVER:
        return
    named, excused = naming(file), set(NOT_COMPARED.get(file.stem, ()))
    assert excused <= set(contents(file))
    lacking = {key for key in contents(file) if not is_named(key, named)}
    assert lacking <= excused


def test_excuses_are_for_files_that_are_there() -> None:
    assert {*NOT_COMPARED, *LOOPED_OVER} <= {file.stem for file in JSON}
