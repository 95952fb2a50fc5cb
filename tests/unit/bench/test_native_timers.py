"""The native timers take what they are given or say why not, and the ceiling is one."""

from __future__ import annotations

import numpy as np
import pytest

from bimacosr.bench.native import layer, layer_sums
from bimacosr.bench.roofline import measure_ceiling, place_under
from bimacosr.bench.task import LayerShape, Task
from bimacosr.engine import instruction_sets
from bimacosr.engine.native import open_native
from bimacosr.errors import BackendError

SHAPES = [
    LayerShape(taps=9, inputs=70, outputs=33, height=5, width=8),
    LayerShape(taps=9, inputs=3, outputs=5, height=7, width=9),
    LayerShape(taps=1, inputs=64, outputs=1, height=1, width=1),
    LayerShape(taps=1, inputs=200, outputs=48, height=40, width=33, linear=True),
]


def task(shape: LayerShape, isa: str, threads: int = 1) -> Task:
    return Task(
        benchmark="layers",
        model="any",
        height=shape.height,
        width=shape.width,
        threads=threads,
        isa=isa,
        layer=shape,
    )


@pytest.mark.parametrize("isa", instruction_sets())
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_any_shape_runs_again_and_again(shape: LayerShape, isa: str) -> None:
    for run in (layer(task(shape, isa)), layer(task(shape, isa, 2)), layer_sums(task(shape, isa))):
        for _ in range(3):
            run()


def test_the_sums_alone_run_on_one_thread() -> None:
    with pytest.raises(BackendError, match="runs on one thread"):
        layer_sums(task(SHAPES[0], "scalar", 2))


def test_timers_refuse_what_no_layer_has() -> None:
    native = open_native()
    with pytest.raises(ValueError, match="1 or 9 taps"):
        native.GemmTimer("scalar", 4, 4, 5, 8, 8)
    with pytest.raises(ValueError, match="inputs must be from 1"):
        native.GemmTimer("scalar", 4, 0, 9, 8, 8)
    signs = np.zeros((1, 1, 1), np.uint64)
    made = native.binary_layer("scalar", signs, 1, np.ones(1, np.float32))
    with pytest.raises(ValueError, match="height and width must be from 1 to 4096"):
        native.LayerTimer(made, 0, 8, 1)
    with pytest.raises(ValueError, match="threads must be from 1"):
        native.LayerTimer(made, 8, 8, 0)


@pytest.mark.parametrize("isa", instruction_sets())
def test_a_ceiling_is_there_for_every_vector_set(isa: str) -> None:
    found = measure_ceiling(isa)
    if isa == "scalar":
        assert found is None
    else:
        assert found is not None
        # a vector of 16 pixels of 8 channels in three instructions, to 16384 products in 16 cycles
        assert 10 < found["macs_per_cycle"] < 1200


def test_layers_are_placed_by_seconds_cycles_and_threads() -> None:
    case = {
        "name": "a layer",
        "macs": 1_000_000,
        "contestants": {"native": {"wall": {"median": 0.001}}},
    }
    ceiling = {"cycles_per_second": 1e7, "macs_per_cycle": 200.0}
    (row,) = place_under(ceiling, [case], "wall", 2)
    assert row["native"]["macs_per_cycle"] == pytest.approx(50)
    assert row["native"]["of_ceiling"] == pytest.approx(0.25)
    assert "native-sums" not in row
