"""`bimacosr info` and the help texts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

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


COMMANDS = [
    (),
    ("upscale",),
    ("info",),
    ("pack",),
    ("bench",),
    ("weights",),
    ("weights", "list"),
    ("weights", "download"),
    ("weights", "verify"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run: Run, command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_version(run: Run) -> None:
    assert bimacosr.__version__ in run("--version").stdout


class TestCosts:
    def test_the_numbers_of_the_paper_are_printed(self, run: Run) -> None:
        result = run("info", "--costs", "bimacosr-student")
        assert result.exit_code == 0
        cells = {line.split("  ")[0]: line.split() for line in result.stdout.splitlines()}
        assert cells["ratio"] == ["ratio", "21.43x", "23.78x", "20.53x", "27.39x"]
        # parameters of all kinds, and operations of signs: two for each multiply-add
        assert cells["all"][1] == "120,255,183"
        assert cells["all"][-2:] == ["50,070,646,784", "100,141,293,568"]

    def test_json_has_the_same_numbers(self, run: Run) -> None:
        facts = json.loads(run("info", "--costs", "edge-x4", "--size", "8x12", "--json").stdout)
        assert (facts["height"], facts["width"]) == (8, 12)
        for field in ("parameters", "packed_bytes", "one_bit_macs"):
            assert facts["total"][field] == sum(row[field] for row in facts["kinds"]) > 0
        parts = facts["parts"]
        assert sum(part["parameters"] for part in parts) == facts["total"]["parameters"]
        body = [part for part in parts if part["one_bit"]]
        assert {part["macs"] for part in body} == {64 * 64 * 9 * 8 * 12}
        assert facts["rule"]["ratio"]["macs"] > 1
        text = run("info", "--costs", "edge-x4", "--size", "8x12").stdout
        assert f"file: {facts['file_bytes']:,} bytes" in text
        assert f"{facts['total']['one_bit_macs']:,}" in text

    def test_a_float_network_is_compared_with_nothing(self, run: Run) -> None:
        facts = json.loads(run("info", "--costs", "sinsr", "--json").stdout)
        assert facts["total"]["parameters"] == 118_593_583
        assert "rule" not in facts
        assert "by the paper's rule" not in run("info", "--costs", "resshift").stdout

    def test_the_selection_of_the_paper_is_for_its_own_method(self, run: Run) -> None:
        lines = run("info", "--costs", "xnor-student").stdout.splitlines()
        assert "everything counted:" in lines
        assert ["ratio", "30.62x", "36.89x"] in [line.split() for line in lines]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["no-such"], "error: there is no model 'no-such': give one of edge-x4,"),
            (["edge-x4", "--size", "64"], "error: the size is '64'; give height and width"),
            (["edge-x4", "--size", "0x64"], "error: the size is 0x64; both sides must be"),
            (["sinsr", "--size", "32x64"], "error: the latent is 32x64 (height x width)"),
        ],
    )
    def test_errors_are_one_sentence(self, run: Run, arguments: list[str], message: str) -> None:
        result = run("info", "--costs", *arguments)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr.startswith(message)
        assert result.stderr.count("\n") == 1

    def test_without_pytorch(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "torch", None)
        result = run("info", "--costs", "edge-x4")
        assert result.exit_code == 1
        assert result.stderr.startswith("error: counting needs PyTorch")
        assert "pip install 'bimacosr[torch]'" in result.stderr

    def test_a_file_that_is_no_model(self, run: Run, folder: Path) -> None:
        (folder / "notes.pth").write_text("weights, some day")
        result = run("info", "--costs", "notes.pth")
        assert result.exit_code == 1
        assert result.stderr.startswith("error: notes.pth")
        assert result.stderr.count("\n") == 1

    def test_a_size_alone_means_nothing(self, run: Run) -> None:
        result = run("info", "--size", "64x64")
        assert result.exit_code == 2
        assert "--size goes with --costs" in result.stderr
