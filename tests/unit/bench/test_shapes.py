"""The layers that are measured are those that the network has."""

from __future__ import annotations

import pytest

from bimacosr.bench.shapes import layer_shapes
from bimacosr.bench.task import LayerShape
from bimacosr.errors import ModelError


def test_the_official_students_layers_and_their_products() -> None:
    found = layer_shapes("bimacosr-student", 64, 64)
    shapes = found.shapes
    wide = LayerShape(taps=9, inputs=320, outputs=160, height=64, width=64)
    assert wide.name == "3x3 320->160 64x64"
    assert shapes[wide] == 2
    tokens = LayerShape(taps=1, inputs=192, outputs=576, height=8, width=8, linear=True)
    assert tokens in shapes
    assert found.left_out.pop("stride 2") == 3
    (folded,) = found.left_out.values()
    pairs = {shape: n for shape, n in shapes.items() if shape.consumer_inputs}
    assert sum(shapes.values()) - sum(pairs.values()) + 3 + folded == 178
    # of the 37.8 GMAC in 3x3 convolutions, those of stride 2 have 0.53
    gmacs = {
        kind: sum(shape.macs * n for shape, n in shapes.items() if shape.kind == kind) / 1e9
        for kind in ("3x3", "1x1", "1x1 fused")
    }
    assert gmacs["3x3"] == pytest.approx(37.8 - 0.53, abs=0.1)
    assert gmacs["1x1"] == pytest.approx(9.0 + 3.2, abs=0.1)
    # all those of Swin blocks: 18 of them, two pairs each
    assert sum(pairs.values()) == 2 * 18
    mlp = LayerShape(
        taps=1,
        inputs=192,
        outputs=768,
        height=64,
        width=64,
        consumer_inputs=768,
        consumer_outputs=192,
        gelu=True,
    )
    assert mlp.name == "1x1 192->768->gelu->192 64x64"
    assert pairs[mlp] == 4


def test_a_float_network_has_none() -> None:
    with pytest.raises(ModelError, match="'sinsr' has no 1-bit layers"):
        layer_shapes("sinsr", 64, 64)
