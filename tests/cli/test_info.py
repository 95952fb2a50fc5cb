"""`bimacosr info` and the help texts."""

from __future__ import annotations

import json

import pytest

import bimacosr
from tests.cli.conftest import Run


def test_info_is_json_with_every_model(run: Run) -> None:
    facts = json.loads(run("info", "--json").stdout)
    assert facts["version"] == bimacosr.__version__
    assert facts["packages"]["torch"]
    (model,) = (m for m in facts["models"] if m["default"])
    assert model["name"] == facts["default_model"]
    assert 0 < model["bytes"] <= 4_000_000
    assert model["license"]
    assert model["one_bit_weights"] > 100_000


def test_info_for_people_names_the_default_model(run: Run) -> None:
    text = run("info").stdout
    assert "model edge-x4 (default)" in text
    assert "torch" in text


@pytest.mark.parametrize("command", [(), ("upscale",), ("info",)])
def test_every_command_has_help(run: Run, command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_version(run: Run) -> None:
    assert bimacosr.__version__ in run("--version").stdout
