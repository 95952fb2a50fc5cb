"""Whole benchmarks on tiny shapes, with PyTorch as the only peer: what a result holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bimacosr.bench import contestants
from bimacosr.bench.machine import has_bfloat16
from bimacosr.bench.measure import measure
from bimacosr.bench.memory import peak_memory
from bimacosr.bench.report import lines
from bimacosr.bench.task import Benchmark
from bimacosr.config.bench import BenchSettings
from bimacosr.engine import instruction_sets
from bimacosr.errors import BimacosrError, ModelError, OptionError
from tests.unit.bench.small import save_student

FACTS = {
    "benchmark",
    "format",
    "machine",
    "date",
    "command",
    "environment",
    "versions",
    "model",
    "size",
    "threads",
    "isa",
    "clock",
    "rounds",
    "load_at_start",
    "load_at_end",
    "missing",
    "unfit",
    "cases",
    "summary",
}


def run(benchmark: Benchmark, **options: Any) -> dict[str, Any]:
    """The result of two rounds, after a trip through JSON."""
    settings = BenchSettings(**{"rounds": 2, "memory": False, **options})
    result = measure(benchmark, settings, lambda _: None)
    assert result.keys() >= FACTS
    returned: dict[str, Any] = json.loads(json.dumps(result))
    assert returned == result
    return returned


def check_case(case: dict[str, Any], peers: set[str], clock: str = "cpu") -> None:
    """Everybody ran as often as asked, and the ratio is about that of the medians."""
    assert case["contestants"].keys() == {"native", *peers}
    for name, seconds in case["contestants"].items():
        assert seconds["rounds"] == 2
        for spread in (seconds["cpu"], seconds["wall"]):
            assert 0 < spread["low"] <= spread["median"] <= spread["high"], name
    for name in peers - {"native-sums"}:
        theirs, ours = case["contestants"][name][clock], case["contestants"]["native"][clock]
        ratio = case["ratios"][name]
        assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
        assert theirs["low"] / ours["high"] <= ratio["high"]
        assert ratio["low"] <= theirs["high"] / ours["low"]


def test_layers_of_the_shipped_model() -> None:
    result = run("layers", model="edge-x4", height=16, width=12, peers=["torch-fp32"])
    (case,) = result["cases"]
    check_case(case, {"native-sums", "torch-fp32"})
    assert case["class"] == "3x3"
    assert case["layers"] > 1
    assert case["macs"] == 9 * case["shape"]["inputs"] * case["shape"]["outputs"] * 16 * 12
    mean = result["summary"]["3x3"]["best fp32"]
    assert mean["median"] == pytest.approx(case["ratios"]["torch-fp32"]["median"])
    assert result["layers_left_out"] == {}


def test_the_roofline_puts_layers_under_what_was_measured() -> None:
    result = run("layers", model="edge-x4", height=16, width=16, peers=[])
    (case,) = result["cases"]
    assert case["isa"] in instruction_sets()
    if "ceilings" not in result:
        assert case["isa"] not in ("avx2", "avx512", "amx")
        return
    (ceiling,), (row,) = result["ceilings"].values(), result["roofline"]
    assert 1e8 < ceiling["cycles_per_second"] < 1e11
    seconds = case["contestants"]["native"]["cpu"]["median"]
    found = row["native"]["macs_per_cycle"] * ceiling["cycles_per_second"]
    assert found == pytest.approx(case["macs"] / seconds)
    shown = list(lines(result))
    assert any(line.startswith(f"{case['isa']}: at most") for line in shown)
    assert any(line.startswith(f"{case['name']}  {case['isa']}") for line in shown)


@pytest.mark.parametrize("isa", instruction_sets())
def test_every_instruction_set_can_be_timed(isa: str) -> None:
    result = run("layers", model="edge-x4", height=8, width=8, peers=[], isa=isa)
    assert result["isa"] == isa
    check_case(result["cases"][0], {"native-sums"})


def test_the_unet_beside_pytorch(tmp_path: Path) -> None:
    student = save_student(tmp_path / "student.safetensors")
    peers = ["torch-fp32", "torch-fp32-nhwc", "torch-student"]
    result = run("unet", model=str(student), height=16, width=16, peers=peers)
    (case,) = result["cases"]
    check_case(case, set(peers))
    assert case["best"]["fp32"] in ("torch-fp32", "torch-fp32-nhwc")
    assert {kind for kind, value in case["profile_ms"].items() if value > 0}
    assert case["left_out"] == {}


def test_the_autoencoder_in_each_precision() -> None:
    peers = ["torch-fp32-nhwc", "torch-bf16-nhwc"]
    result = run("autoencoder", height=4, width=6, rounds=2, peers=peers)
    rounded = has_bfloat16() and "amx" in instruction_sets()
    precisions = ["fp32", "bf16"] if rounded else ["fp32"]
    names = [f"{way} {precision}" for precision in precisions for way in ("encoder", "decoder")]
    assert [case["name"] for case in result["cases"]] == names
    for case in result["cases"]:
        check_case(case, {f"torch-{case['class']}-nhwc"})
        assert case["ratios"].keys() == {f"torch-{case['class']}-nhwc", f"best {case['class']}"}
    assert any(line.startswith("decoder fp32: best fp32  ") for line in lines(result))
    plain = run("autoencoder", height=4, width=4, isa="scalar", peers=[])
    assert [case["class"] for case in plain["cases"]] == ["fp32", "fp32"]


def test_two_threads_beside_one(tmp_path: Path) -> None:
    student = save_student(tmp_path / "student.safetensors")
    result = run("unet", model=str(student), height=16, width=16, threads=2, peers=[])
    (case,) = result["cases"]
    check_case(case, {"native-1-thread"}, "wall")
    (row,) = (line for line in lines(result) if line.startswith("native-1-thread  "))
    assert float(row.split()[1]) == pytest.approx(
        case["ratios"]["native-1-thread"]["median"], abs=0.006
    )


def test_pairs_of_a_students_layers(tmp_path: Path) -> None:
    student = save_student(tmp_path / "student.safetensors")
    peers = ["torch-fp32", "torch-fp32-nhwc"]
    result = run("layers", model=str(student), height=16, width=16, rounds=1, peers=peers)
    pairs = [case for case in result["cases"] if case["class"] == "1x1 fused"]
    assert {case["shape"]["gelu"] for case in pairs} == {True, False}
    for case in pairs:
        assert case["contestants"].keys() == {"native", *peers}
        assert case["left_out"] == {"native-sums": "it is of one layer"}
    assert result["summary"]["1x1 fused"]["best fp32"]["cases"] == len(pairs)


def test_the_pipeline_beside_bicubic_by_wall_time() -> None:
    peers = ["bicubic", "torch-backend"]
    result = run("pipeline", height=16, width=24, threads=2, peers=peers)
    assert result["clock"] == "wall"
    (case,) = result["cases"]
    check_case(case, set(peers), "wall")
    assert case["name"] == "16x24 to 64x96"


def test_memory_is_that_of_a_process_of_its_own() -> None:
    result = run("pipeline", height=16, width=16, peers=["bicubic"], memory=True)
    peaks = result["memory"]["bytes"]
    assert 10_000_000 < peaks["bicubic"] < 150_000_000  # PyTorch alone has 300 MB
    assert 10_000_000 < peaks["native"] < 150_000_000


def test_a_process_that_fails_is_an_error() -> None:
    row = contestants.CONTESTANTS["pipeline"][0]
    task = contestants.Task(
        benchmark="pipeline", model="no-such-model", height=8, width=8, threads=1, isa="scalar"
    )
    with pytest.raises(BimacosrError, match=r"its memory failed .*no-such-model"):
        peak_memory(row, task)


def test_a_peer_that_fails_is_named_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    build = contestants.build

    def break_torch(contestant: contestants.Contestant, task: contestants.Task) -> Any:
        if contestant.name == "torch-backend":
            raise RuntimeError("out of\nluck")
        return build(contestant, task)

    monkeypatch.setattr("bimacosr.bench.measure.build", break_torch)
    result = run("pipeline", height=16, width=16, peers=["torch-backend", "bicubic"])
    assert result["cases"][0]["left_out"] == {"torch-backend": "out of luck"}
    check_case(result["cases"][0], {"bicubic"})
    assert "torch-backend is left out of 16x16 to 64x64: out of luck" in lines(result)


def test_what_is_missing_is_in_the_result_and_in_the_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contestants, "_is_installed", lambda peer: peer == "pillow")
    result = run("pipeline", height=16, width=16, peers=["bicubic", "ncnn"])
    assert result["missing"]["x4plus"] == "pip install ncnn"
    assert "x4plus is not installed: pip install ncnn" in list(lines(result))


def test_a_model_without_1_bit_layers_is_refused() -> None:
    with pytest.raises(ModelError, match="no 1-bit layers"):
        run("layers", model="sinsr", peers=[])
    with pytest.raises(OptionError, match="vq-f4 alone"):
        run("autoencoder", model="edge-x4", peers=[])


@pytest.mark.parametrize(
    ("name", "value"), [("threads", 0), ("rounds", 1001), ("height", 0), ("budget_s", 0.0)]
)
def test_settings_out_of_their_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(OptionError, match=name):
        BenchSettings(**{name: value})
