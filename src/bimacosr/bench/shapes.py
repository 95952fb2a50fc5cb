"""The 1-bit layers of a network: their distinct shapes, and how often each one runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bimacosr.bench.task import LayerShape
from bimacosr.binarize.registry import METHODS
from bimacosr.costs.subjects import inputs_of, open_subject
from bimacosr.errors import ModelError

__all__ = ["Layers", "layer_shapes"]

_ONE_BIT = tuple(
    layer
    for method in METHODS.values()
    for layer in (method.conv, method.linear)
    if isinstance(layer, type)
)


_PAIRS = {"mlp.fc1": ("mlp.fc2", True), "attn.qkv": ("attn.proj", False)}
"""Ends of the names of a 1x1 layer and of its consumer, and whether GELU lies between."""


class Layers(NamedTuple):
    """What `layer_shapes` finds."""

    shapes: dict[LayerShape, int]
    """How many layers have that shape; smallest kernels and maps first. Then those of pairs: a 1x1
    layer and its consumer, which are among the former, too."""

    left_out: dict[str, int]
    """How many layers are not measured alone, by reason."""


def layer_shapes(model: str, height: int, width: int) -> Layers:
    """The shapes of the 1-bit layers of a model, seen by running it once without numbers.

    The 1x1 layers of a Swin block appear alone, and in pairs: fc1, GELU and fc2; qkv and proj,
    which takes a third of what qkv gives, as if attention had let it pass. A convolution after an
    enlargement counts as one on the enlarged map, which is what PyTorch and others do.

    Args:
        model: What `bimacosr.costs.subjects.open_subject` takes.
        height: Height of the low-quality picture or of the latent.
        width: Width of it.

    Raises:
        ModelError: there is no such model, or it has no 1-bit layers.
        OptionError: it cannot run at that size.
    """
    network = open_subject(model).network
    inputs = inputs_of(network, height, width)
    found: dict[str, LayerShape] = {}
    left_out: Counter[str] = Counter()

    def watch(name: str, layer: Any) -> None:
        def note(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            shape = _shape_of(module, arguments[0], output)
            if isinstance(shape, str):
                left_out[shape] += 1
            else:
                found[name] = shape

        layer.register_forward_hook(note)

    for name, module in network.named_modules():
        if isinstance(module, _ONE_BIT):
            watch(name, module)
    with torch.no_grad():
        network(*inputs)
    if not found:
        raise ModelError(f"the model {model!r} has no 1-bit layers; give a student")
    shapes = sorted(Counter(found.values()).items()) + sorted(Counter(_joined(found)).items())
    return Layers(dict(shapes), dict(left_out))


def _joined(layers: Mapping[str, LayerShape]) -> Iterator[LayerShape]:
    """The 1x1 layers that have a consumer, with it."""
    for name, shape in layers.items():
        for end, (consumer_end, gelu) in _PAIRS.items():
            consumer = layers.get(name.removesuffix(end) + consumer_end)
            if name.endswith(end) and consumer is not None:
                yield replace(
                    shape,
                    consumer_inputs=consumer.inputs,
                    consumer_outputs=consumer.outputs,
                    gelu=gelu,
                )


def _shape_of(module: Any, x: Tensor, output: Tensor) -> LayerShape | str:
    """The shape, or why the layer is left out."""
    weight: Tensor = module.weight
    outputs, inputs = weight.shape[:2]
    if weight.ndim == 2:
        tokens = output.numel() // outputs
        if tokens == 1:
            return "of the time step, which is constant: folded when the model is loaded"
        side = next(side for side in range(int(tokens**0.5), 0, -1) if tokens % side == 0)
        return LayerShape(
            taps=1,
            inputs=inputs,
            outputs=outputs,
            height=side,
            width=tokens // side,
            linear=True,
        )
    if x.shape[-2:] != output.shape[-2:]:
        return "stride 2"
    height, width = output.shape[-2:]
    taps = weight[0, 0].numel()
    return LayerShape(taps=taps, inputs=inputs, outputs=outputs, height=height, width=width)
