from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bimacosr.config.evaluate import EvaluateSettings, MetricSettings
from bimacosr.errors import BackendError, OptionError
from bimacosr.evaluate.choice import choose
from bimacosr.evaluate.measure import ORIGINAL, Task, measure_set
from bimacosr.evaluate.pictures import (
    BICUBIC,
    Method,
    bicubic_of,
    check_device,
    enlarge_bicubic,
    read_rgb,
    results_in,
)
from bimacosr.evaluate.tally import Tally
from bimacosr.metrics.psnr import psnr_y
from bimacosr.metrics.registry import METRICS, load_metrics
from tests.unit.evaluate.conftest import pixels, write

NAMES = ("psnr_y", "ssim_y", "colour_shift")


@pytest.fixture
def make_task(tmp_path: Path) -> Callable[..., Task]:
    """Five originals, and results in which the first has another size and the second is broken."""

    def make(**changes: object) -> Task:
        hr = {f"p{i}": write(tmp_path / "hr" / f"p{i}.png", pixels(i)) for i in range(5)}
        sr = {f"p{i}": write(tmp_path / "sr" / f"p{i}.png", pixels(9 - i)) for i in range(5)}
        write(sr["p0"], pixels(0, 44))
        sr["p1"].write_bytes(b"nothing")
        given = {
            "methods": {"sr": results_in(sr)},
            "metrics": {name: METRICS[name] for name in NAMES},
            "scores": load_metrics(NAMES),
            "originals": hr,
        }
        return Task(**given | changes)  # type: ignore[arg-type]

    return make


def as_batch(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255


def test_what_cannot_be_measured_is_told_and_the_rest_goes_on(
    make_task: Callable[..., Task],
) -> None:
    told: list[str] = []
    names = [f"p{i}" for i in range(5)]
    tally = measure_set(make_task(), names, tell=told.append)["sr"]
    assert list(tally.pictures) == ["p2", "p3", "p4"]
    assert told[0] == "p0 by sr is 48x44, its original 48x40; they must be of one size"
    assert "p1.png" in told[1]
    assert len(told) == 2
    expected = psnr_y(as_batch(pixels(7)), as_batch(pixels(2))).item()
    assert tally.figures("p2")["psnr_y"] == expected
    assert "seconds" not in tally.figures("p2")


def test_the_number_of_workers_changes_nothing(make_task: Callable[..., Task]) -> None:
    threads = torch.get_num_threads()
    runs = []
    for workers in (1, 2, 5):
        told: list[str] = []
        shown: list[tuple[str, str]] = []
        tallies = measure_set(
            make_task(),
            [f"p{i}" for i in range(5)],
            workers,
            tell=told.append,
            show=lambda method, name, _: shown.append((method, name)),  # noqa: B023
        )
        runs.append((tallies["sr"].pictures, told, shown))
    assert runs[0] == runs[1] == runs[2]
    assert runs[0][2][-2:] == [("sr", "p4"), (ORIGINAL, "p4")]
    assert torch.get_num_threads() == threads


def test_a_defect_of_a_metric_stops_neither_pictures_nor_methods(
    make_task: Callable[..., Task],
) -> None:
    def fail(sr: Tensor, hr: Tensor | None) -> Tensor:
        raise RuntimeError("boom")

    told: list[str] = []
    task = make_task(scores={"psnr_y": fail})
    assert measure_set(task, ["p2", "p3"], tell=told.append)["sr"].pictures == {}
    assert told == [
        f"p{i} by sr: internal error (RuntimeError: boom); please report it" for i in (2, 3)
    ]


def test_colours_and_time_of_what_is_made_beside_bicubic(tmp_path: Path) -> None:
    small = {"a": write(tmp_path / "a.png", pixels(1, 8, 12))}
    brighter = Method(
        make=lambda name: (enlarge_bicubic(read_rgb(small[name])) // 2 + 9).astype(np.uint8),
        names=["a"],
    )
    task = Task(methods={BICUBIC: bicubic_of(small), "brighter": brighter}, metrics={}, scores={})
    tallies = measure_set(task, ["a"], tell=pytest.fail)
    plain, other = (tallies[method].figures("a") for method in (BICUBIC, "brighter"))
    assert plain.keys() == {"mean_R", "mean_G", "mean_B", "seconds"}
    assert other["shift_G"] == pytest.approx(other["mean_G"] - plain["mean_G"])
    assert plain["mean_R"] == pytest.approx(enlarge_bicubic(pixels(1, 8, 12))[..., 0].mean())


def test_a_metric_of_sets_gets_the_files_that_could_be_measured(
    make_task: Callable[..., Task],
) -> None:
    seen = []

    def count(results: list[Path], originals: list[Path]) -> float:
        seen.append([path.name for path in results])
        return len(results) / len(originals)

    task = make_task(set_scores={"fid": count})
    tally = measure_set(task, ["p0", "p2", "p4"], tell=lambda _: None)["sr"]
    assert seen == [["p2.png", "p4.png"]]
    assert tally.summary()["fid"] == 1


def test_sixteen_bits_and_grey_become_eight_bit_rgb(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 5), 0x81FF, np.uint16)).save(tmp_path / "grey.png")
    assert np.array_equal(read_rgb(tmp_path / "grey.png"), np.full((4, 5, 3), 0x81))


def test_a_device_that_is_not_there_is_one_sentence() -> None:
    check_device("cpu")
    with pytest.raises(BackendError, match=r"cannot use the device 'moon' .*--device cpu"):
        check_device("moon")


class TestTally:
    def test_figures_of_a_set_and_their_spread(self) -> None:
        tally = Tally({"lines": METRICS["lines"], "psnr_y": METRICS["psnr_y"]})
        tally.pictures = {
            "a": {"psnr_y": (20.0,), "lines": (1.0, 4.0)},
            "b": {"psnr_y": (30.0,), "lines": (3.0, 0.0)},
            "c": {"psnr_y": (math.nan,), "lines": (2.0, 1.0)},
        }
        assert tally.figures("a") == {"psnr_y": 20, "lines": 4}
        assert tally.summary() == {"psnr_y": 25, "lines": 2}
        assert tally.summary(["a"]) == {"psnr_y": 20, "lines": 4}
        assert tally.spread()["psnr_y"] == (25, pytest.approx(50**0.5))
        assert math.isnan(tally.spread(["a"])["psnr_y"][1])


class TestChoice:
    def test_the_usual_metrics_are_those_that_can_be_had(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("BIMACOSR_METRIC_WEIGHTS", raising=False)
        (tmp_path / "niqe.safetensors").touch()
        settings = EvaluateSettings(metric=MetricSettings(weights_dir=tmp_path))
        choice = choose(settings, originals=True)
        assert list(choice.metrics) == ["psnr_y", "ssim_y", "niqe"]
        assert "LPIPS-alex is left out: lpips_alex.safetensors" in choice.notices[0]
        assert list(choose(settings, originals=False).metrics) == ["niqe"]

    def test_what_was_asked_for_is_not_left_out(self) -> None:
        settings = EvaluateSettings(metrics=("psnr", "PSNR", "fid", "musiq"))
        choice = choose(settings, originals=True)
        assert list(choice.all) == ["psnr_y", "musiq", "fid"]
        assert len(choice.notices) == 1  # one licence, said once
        with pytest.raises(OptionError, match="psnr_y compares with originals; give them with"):
            choose(settings, originals=False)

    def test_the_border_is_told_where_it_counts(self) -> None:
        settings = EvaluateSettings(metrics=("psnr", "colour_shift"))
        told = choose(settings, originals=True).conventions(4)
        assert told["psnr_y"].endswith("; 4 px left out at each edge")
        assert "left out" not in told["colour_shift"]
