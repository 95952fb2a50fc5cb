"""The native timers take what they are given or say why not, and the ceiling is one."""

from __future__ import annotations

import numpy as np
import pytest

from bimacosr.bench.native import layer, layer_sums
from bimacosr.bench.roofline import layer_isa, measure_ceilings, place_under
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
PAIRS = [
    LayerShape(
        taps=1,
        inputs=40,
        outputs=96,
        height=20,
        width=33,
        consumer_inputs=96,
        consumer_outputs=40,
        gelu=True,
    ),
    LayerShape(
        taps=1,
        inputs=64,
        outputs=192,
        height=1,
        width=7,
        linear=True,
        consumer_inputs=64,
        consumer_outputs=64,
    ),
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


@pytest.mark.parametrize("isa", instruction_sets())
@pytest.mark.parametrize("shape", PAIRS, ids=lambda shape: shape.name)
def test_pairs_run_again_and_again(shape: LayerShape, isa: str) -> None:
    for threads in (1, 3):
        run = layer(task(shape, isa, threads))
        for _ in range(3):
            run()


def test_a_pair_is_named_and_counted_as_both_its_layers() -> None:
    assert PAIRS[0].name == "1x1 40->96->gelu->40 20x33"
    assert PAIRS[1].name == "linear 64->192->64->64 1x7"
    assert PAIRS[0].macs == (40 * 96 + 96 * 40) * 660
    assert PAIRS[1].macs == (64 * 192 + 64 * 64) * 7
    assert {shape.kind for shape in PAIRS} == {"1x1 fused"}


def test_the_sums_alone_are_of_one_layer_on_one_thread() -> None:
    with pytest.raises(BackendError, match="runs on one thread"):
        layer_sums(task(SHAPES[0], "scalar", 2))
    with pytest.raises(BackendError, match="one layer"):
        layer_sums(task(PAIRS[0], "scalar"))


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
    with pytest.raises(ValueError, match="pixels must be from 1"):
        native.PairTimer(made, made, True, 0)
    wide = native.binary_layer("scalar", signs, 2, np.ones(1, np.float32))
    with pytest.raises(ValueError, match="second layer does not fit the first"):
        native.PairTimer(made, wide, False, 8)


def test_a_ceiling_is_there_for_every_vector_set() -> None:
    found = measure_ceilings(instruction_sets())
    assert set(found) == set(instruction_sets()) - {"scalar"}
    for ceiling in found.values():
        assert 1e8 < ceiling["cycles_per_second"] < 1e11
        # a busy machine makes it lower; the most is an adder of 512 bits a cycle, 8/3 products each
        assert 0 < ceiling["macs_per_cycle"] < 1600


@pytest.mark.parametrize("isa", instruction_sets())
def test_a_named_instruction_set_is_that_of_every_layer(isa: str) -> None:
    assert {layer_isa(isa, shape) for shape in SHAPES} == {isa}


def test_layers_are_placed_by_seconds_cycles_and_threads() -> None:
    case = {
        "name": "a layer",
        "isa": "avx2",
        "macs": 1_000_000,
        "contestants": {"native": {"wall": {"median": 0.001}}},
    }
    other = {**case, "isa": "scalar"}
    ceilings = {"avx2": {"cycles_per_second": 1e7, "macs_per_cycle": 200.0}}
    (row,) = place_under(ceilings, [other, case], "wall", 2)
    assert row["native"]["macs_per_cycle"] == pytest.approx(50)
    assert row["native"]["of_ceiling"] == pytest.approx(0.25)
    assert "native-sums" not in row
