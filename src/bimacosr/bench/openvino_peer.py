"""OpenVINO as a contestant: float layers, its own 1-bit convolution, the float UNet.

It is optional, so it is imported where it is used.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from bimacosr.bench.pictures import half_input
from bimacosr.bench.race import Run
from bimacosr.bench.task import LayerShape, Task
from bimacosr.errors import BackendError

__all__ = ["autoencoder", "layer", "layer_bf16", "layer_binary", "unet", "unet_bf16"]


def layer(task: Task) -> Run:
    """A float layer of the same shape, with bias, and its consumer.

    Raises:
        BackendError: it is a linear layer, and should be held to AVX2, to which it cannot be.
    """
    return _layer(task, "f32")


def layer_bf16(task: Task) -> Run:
    """The same in bfloat16."""
    return _layer(task, "bf16")


def layer_binary(task: Task) -> Run:
    """Its BinaryConvolution, signs of the input included, and its consumer; neither scales nor
    branches.

    Raises:
        BackendError: the number of input channels is none it can read as bytes.
    """
    import openvino as ov
    from openvino import opset8

    shape = _shape(task)
    if shape.inputs % 8 or shape.consumer_inputs % 8:
        raise BackendError("its 1-bit weights come in whole bytes of input channels")
    size = [1, shape.inputs, shape.height, shape.width]
    x = opset8.parameter(size, ov.Type.f32)
    side = 3 if shape.taps == 9 else 1
    result = _binary_convolution(x, shape.inputs, shape.outputs, side)
    if shape.consumer_inputs:
        taken = _between(shape, result)
        result = _binary_convolution(taken, shape.consumer_inputs, shape.consumer_outputs, 1)
    return _run(ov.Model([result], [x]), task, "f32", [_normal(*size)])


def unet(task: Task) -> Run:
    """The float UNet of the student's shape."""
    return _unet(task, "f32")


def unet_bf16(task: Task) -> Run:
    """The same in bfloat16."""
    return _unet(task, "bf16")


def autoencoder(task: Task) -> Run:
    """Half of VQ-f4, without the codebook, in the task's precision."""
    import torch

    from bimacosr.bench.pytorch import float_half

    network = float_half(task)  # its weights are the model's until that is compiled
    inputs = (torch.from_numpy(half_input(task)),)
    precision = "bf16" if task.precision == "bf16" else "f32"
    return _run(_converted(network, inputs), task, precision, [x.numpy() for x in inputs])


def _layer(task: Task, precision: str) -> Run:
    import openvino as ov
    from openvino import opset8

    shape = _shape(task)
    size = [1, shape.inputs, shape.height, shape.width]
    if shape.linear:
        size = [shape.height * shape.width, shape.inputs]
    x = opset8.parameter(size, ov.Type.f32)
    result = _float_layer(shape, x, shape.inputs, shape.outputs)
    if shape.consumer_inputs:
        taken = _between(shape, result)
        result = _float_layer(shape, taken, shape.consumer_inputs, shape.consumer_outputs)
    return _run(ov.Model([result], [x]), task, precision, [_normal(*size)])


def _float_layer(shape: LayerShape, x: Any, inputs: int, outputs: int) -> Any:
    from openvino import opset8

    if shape.linear:
        if "AVX2" in os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper():
            raise BackendError(
                "its products of matrices (MLAS) take AVX-512 whatever ONEDNN_MAX_CPU_ISA says"
            )
        result = opset8.matmul(x, _constant(_normal(outputs, inputs)), False, True)
        return opset8.add(result, _constant(_normal(1, outputs)))
    side = 3 if shape.taps == 9 else 1
    pad = [side // 2] * 2
    weight = _constant(_normal(outputs, inputs, side, side))
    result = opset8.convolution(x, weight, [1, 1], pad, pad, [1, 1])
    return opset8.add(result, _constant(_normal(1, outputs, 1, 1)))


def _between(shape: LayerShape, x: Any) -> Any:
    """What the consumer takes of the first layer's outputs: axis 1 of tokens as of maps."""
    from openvino import opset8

    if shape.gelu:
        return opset8.gelu(x, "erf")
    first, end = shape.outputs - shape.consumer_inputs, shape.outputs
    numbers = (opset8.constant(np.array([v], np.int64)) for v in (first, end, 1, 1))
    return opset8.slice(x, *numbers)


def _binary_convolution(x: Any, inputs: int, outputs: int, side: int) -> Any:
    import openvino as ov
    from openvino import opset1, opset8

    low, high, edge = (_constant(np.full((1, 1, 1, 1), v)) for v in (-1.0, 1.0, 0.0))
    signs = opset8.fake_quantize(x, edge, edge, low, high, 2)
    count = outputs * inputs * side**2 // 8
    bits = np.random.default_rng(0).integers(0, 256, count, dtype=np.uint8)
    weight_size = ov.Shape([outputs, inputs, side, side])
    weight = ov.op.Constant(ov.Tensor(bits, weight_size, ov.Type.u1))
    pad = [side // 2] * 2
    return opset1.binary_convolution(signs, weight, [1, 1], pad, pad, [1, 1], "xnor-popcount", 0.0)


def _unet(task: Task, precision: str) -> Run:
    from bimacosr.bench.pytorch import float_unet, unet_inputs

    inputs = unet_inputs(task)
    network = float_unet(task)  # its weights are the model's until that is compiled
    arrays = [tensor.numpy() for tensor in inputs]
    # OpenVINO 2026.4 crashes while it compiles this network's attention with its snippets
    return _run(_converted(network, inputs), task, precision, arrays, snippets=False)


def _converted(network: Any, inputs: tuple[Any, ...]) -> Any:
    """A PyTorch module as OpenVINO's model, for inputs of these sizes alone."""
    import openvino as ov

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a trace takes for constant, as sizes are here
        model = ov.convert_model(network, example_input=inputs)
    model.reshape({i: list(tensor.shape) for i, tensor in enumerate(inputs)})
    return model


def _run(
    model: Any, task: Task, precision: str, inputs: list[Any], *, snippets: bool = True
) -> Run:
    import openvino as ov

    options = {
        "SNIPPETS_MODE": "ENABLE" if snippets else "DISABLE",
        "INFERENCE_NUM_THREADS": task.threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": precision,
    }
    request = ov.Core().compile_model(model, "CPU", options).create_infer_request()
    for number, array in enumerate(inputs):
        request.set_input_tensor(number, ov.Tensor(array))
    return lambda: request.infer()


def _shape(task: Task) -> LayerShape:
    assert task.layer is not None
    return task.layer


def _constant(array: Any) -> Any:
    from openvino import opset8

    return opset8.constant(np.asarray(array, np.float32))


def _normal(*size: int) -> Any:
    return np.random.default_rng(0).normal(0, 0.1, size).astype(np.float32)
