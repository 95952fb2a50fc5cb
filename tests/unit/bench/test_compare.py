"""From given timings to the plain data of a result."""

from __future__ import annotations

import pytest

from bimacosr.bench.compare import compare, summarise
from bimacosr.bench.contestants import CONTESTANTS
from bimacosr.bench.samples import Sample


def timed(*seconds: float) -> list[Sample]:
    return [Sample(cpu=s, wall=s) for s in seconds]


TIMINGS = {
    "native": timed(1, 1, 2),
    "native-sums": timed(0.5, 0.5, 0.5),
    "torch-fp32": timed(12, 12, 24),
    "openvino-fp32": timed(10, 11, 20),
    "torch-bf16": timed(4, 4, 8),
    "numkong": timed(2, 3, 4),
}


def test_every_peer_has_a_ratio_to_ours() -> None:
    found = compare(TIMINGS, CONTESTANTS["layers"], "cpu")
    medians = {label: ratio["median"] for label, ratio in found["ratios"].items()}
    assert medians == {
        "torch-fp32": 12,
        "openvino-fp32": 10,
        "torch-bf16": 4,
        "numkong": 2,
        "best fp32": 10,
        "best bf16": 4,
    }
    assert found["best"] == {"fp32": "openvino-fp32", "bf16": "torch-bf16"}
    assert found["contestants"]["openvino-fp32"]["cpu"]["median"] == 11
    assert found["contestants"]["native"]["rounds"] == 3


def test_means_are_by_class() -> None:
    def case(kind: str, **ratios: float) -> dict[str, object]:
        return {
            "class": kind,
            "ratios": {
                label: {"median": value, "low": value / 2, "high": value * 2}
                for label, value in ratios.items()
            },
        }

    summary = summarise(
        [case("3x3", torch=4, numkong=3), case("3x3", torch=16), case("1x1", torch=5)]
    )
    assert list(summary) == ["3x3", "1x1"]
    assert summary["3x3"]["torch"]["median"] == pytest.approx(8)
    assert summary["3x3"]["torch"]["low"] == pytest.approx(4)
    assert summary["3x3"]["torch"]["cases"] == 2
    assert summary["3x3"]["numkong"]["median"] == pytest.approx(3)
    assert summary["1x1"]["torch"]["high"] == pytest.approx(10)
