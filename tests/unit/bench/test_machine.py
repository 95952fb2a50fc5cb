"""What a result says of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimacosr import __version__
from bimacosr.bench import machine

CPUINFO = """processor\t: 0
cpu family\t: 25
model\t\t: 1
model name\t: Example CPU
flags\t\t: fpu avx2 fma amx_bf16

processor\t: 1
model name\t: Another
"""


def test_linux_tells_of_its_first_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(CPUINFO)
    monkeypatch.setattr(machine, "CPUINFO", cpuinfo)
    cache = tmp_path / "index2"
    cache.mkdir()
    for name, value in {"level": "2", "type": "Unified", "size": "512K"}.items():
        (cache / name).write_text(value + "\n")
    monkeypatch.setattr(machine, "CACHES", tmp_path)
    told = machine.describe_machine()
    assert told["processor"] == "Example CPU (family 25, model 1)"
    assert told["features"] == ["avx2", "fma", "amx_bf16"]
    assert told["caches"] == {"L2 unified": "512K"}
    assert machine.has_bfloat16()


def test_another_system_is_described_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(machine, "CACHES", tmp_path / "none")
    told = machine.describe_machine()
    assert told["processor"]
    assert told["features"] == []
    assert not machine.has_bfloat16()


def test_a_run_says_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setattr(machine.sys, "argv", ["/usr/bin/bimacosr", "bench", "layers"])
    told = machine.describe_run()
    assert told["command"] == "bimacosr bench layers"
    assert told["environment"]["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert "SECRET" not in told["environment"]
    assert told["versions"]["bimacosr"] == __version__
    assert {"numpy", "torch"} <= told["versions"].keys()
