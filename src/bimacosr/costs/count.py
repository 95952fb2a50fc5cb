"""Count what every part of a network holds and does, by running it once without numbers.

The network stands on the meta device: shapes go through it, nothing is computed. Hooks on the
layers see how many pixels or tokens each one works on, and whether it works at all: branches that
a strided layer leaves unused have parameters but no operations.

A multiply-add (MAC) is counted for each use of a weight: positions x weights, zero padding
included, for sparse matrices their entries only, for attention both products. Elementwise work
(norms, activations, scales, residuals) is not counted, neither here nor in the paper.

Shapes: M windows, N tokens of a window, E embedding channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bimacosr.binarize.branches import SparseBranch
from bimacosr.binarize.methods.horq import HorqConv2d, HorqLinear
from bimacosr.binarize.registry import METHODS
from bimacosr.checkpoints.keys import has_no_effect
from bimacosr.networks.swin import WindowAttention

__all__ = [
    "ATTENTION",
    "BIAS",
    "EXTRA",
    "LINEAR",
    "LOW_RANK",
    "NORM",
    "SHORTCUT",
    "SPARSE",
    "TABLE",
    "Cost",
    "convolution",
    "count",
]

LINEAR = "linear"
ATTENTION = "attention products"
LOW_RANK = "low-rank branch"
SPARSE = "sparse branch"
SHORTCUT = "shortcut and filter"
EXTRA = "activation and offset"
BIAS = "bias"
NORM = "norm"
TABLE = "position table"

_METHOD_OF = {
    layer: method.id
    for method in METHODS.values()
    for layer in (method.conv, method.linear)
    if isinstance(layer, type)
}
ONE_BIT: tuple[type[nn.Module], ...] = tuple(_METHOD_OF)
"""The 1-bit layers of all methods; `weight` is what is 1-bit in them."""

_TWO_TERMS = (HorqConv2d, HorqLinear)  # weight and activation are sums of two 1-bit terms each
_WORD_BITS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """One part of one layer: its weight, its bias, a branch, or work without parameters."""

    layer: str
    """Name of the layer inside the network."""

    kind: str
    """What it is: one of the names at the top of this module, or that of `convolution`."""

    one_bit: bool = False
    """Whether its parameters are signs, and its multiply-adds those of signs."""

    parameters: int = 0
    """Numbers that a checkpoint holds and training changes."""

    macs: int = 0
    """Multiply-adds, one for each use of a weight, float or 1-bit alike."""

    binary_operations: int = 0
    """XNORs and additions of bits, two for each product of signs; 0 in float.

    HORQ multiplies two terms by two, hence four products for each of `macs`."""

    float_bytes: int = 0
    """Bytes in a float32 checkpoint, the sparse branch's positions included."""

    packed_bytes: int = 0
    """Bytes in our packed format: signs in 64-bit words, a float16 scale for each output channel
    and term, float16 for all others, 16-bit positions, nothing for parameters without effect."""


def convolution(height: int, width: int) -> str:
    """The kind of a convolution with a kernel of that size."""
    return f"{height}x{width} convolution"


def count(network: nn.Module, inputs: tuple[Tensor, ...]) -> list[Cost]:
    """What each part of `network` costs when it runs once on `inputs`.

    Args:
        network: A network of `bimacosr.networks`, float or binarized; best on the meta device.
        inputs: The arguments of its forward, on the same device.

    Returns:
        The parts in the order of the modules; the parameters add up to the network's.
    """
    macs = macs_by_layer(network, inputs)
    costs: list[Cost] = []
    owner: nn.Module = network
    owner_path = ""
    for path, module in network.named_modules():
        if isinstance(module, ONE_BIT):
            owner, owner_path = module, path
        elif owner is not network and not path.startswith(owner_path + "."):
            owner, owner_path = network, ""
        costs += _parts(path, module, owner, path[len(owner_path) :].lstrip("."), macs)
    return costs


def macs_by_layer(network: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, int]:
    """Multiply-adds of each layer, by its name; layers that do not run are left out."""
    macs: dict[str, int] = {}

    def watch(path: str) -> Any:
        def hook(module: Any, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            macs[path] = macs.get(path, 0) + _macs(module, arguments[0], output)

        return hook

    kinds: tuple[type[nn.Module], ...]
    kinds = (nn.Conv2d, nn.Linear, SparseBranch, WindowAttention, *ONE_BIT)
    handles = [
        module.register_forward_hook(watch(path))
        for path, module in network.named_modules()
        if isinstance(module, kinds)
    ]
    try:
        with torch.no_grad():
            network(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return macs


def _macs(module: Any, x: Tensor, output: Tensor) -> int:
    if isinstance(module, WindowAttention):
        M, N, E = x.shape
        return 2 * M * N * N * E  # queries with keys, then weights with values
    if isinstance(module, SparseBranch):
        return output.numel() // module.shape[0] * module.values.numel()
    weight: Tensor = module.weight
    return output.numel() // weight.shape[0] * weight.numel()


def _parts(
    path: str, module: nn.Module, owner: nn.Module, inside: str, macs: dict[str, int]
) -> Iterator[Cost]:
    """The parts that `module` itself holds; `inside` is its name in the 1-bit layer `owner`."""
    work = macs.get(path, 0)
    if isinstance(module, WindowAttention):
        yield Cost(layer=path, kind=ATTENTION, macs=work)
    for name, parameter in module.named_parameters(recurse=False):
        kind = _kind(module, name, parameter, owner, inside)
        size = parameter.numel()
        if isinstance(module, ONE_BIT) and name == "weight":
            terms = 2 if isinstance(module, _TWO_TERMS) else 1
            yield Cost(
                layer=path,
                kind=kind,
                one_bit=True,
                parameters=size,
                macs=work,
                binary_operations=2 * work * terms**2,
                float_bytes=4 * size,
                packed_bytes=terms * _sign_bytes(parameter),
            )
            continue
        positions = 2 * size if isinstance(module, SparseBranch) else 0
        unused = has_no_effect(f"{path}.{name}", _METHOD_OF.get(type(owner)))
        yield Cost(
            layer=path,
            kind=kind,
            parameters=size,
            macs=work if name in ("weight", "values") else 0,
            float_bytes=4 * (size + positions),
            packed_bytes=0 if unused else 2 * (size + positions),
        )


def _kind(module: nn.Module, name: str, parameter: Tensor, owner: nn.Module, inside: str) -> str:
    in_one_bit = isinstance(owner, ONE_BIT) and module is not owner
    if isinstance(module, SparseBranch):
        return SPARSE
    if in_one_bit and inside.startswith("lora."):
        return LOW_RANK
    if in_one_bit:  # BiDM's float convolutions; else offsets and PReLU
        return SHORTCUT if isinstance(module, nn.Conv2d) else EXTRA
    if isinstance(module, nn.GroupNorm):
        return NORM
    if isinstance(module, WindowAttention):
        return TABLE
    if not isinstance(module, (nn.Conv2d, nn.Linear, *ONE_BIT)) or name not in ("weight", "bias"):
        return EXTRA
    if name == "bias":
        return BIAS
    return convolution(*parameter.shape[2:]) if parameter.ndim == 4 else LINEAR


def _sign_bytes(weight: Tensor) -> int:
    """Bytes of one term of a 1-bit weight: words of signs, and the scales."""
    c_out, c_in = weight.shape[:2]
    taps = weight[0, 0].numel()
    return c_out * taps * -(-c_in // _WORD_BITS) * 8 + 2 * c_out
