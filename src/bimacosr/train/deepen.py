"""A deeper edge network that starts as the function of a shallower, trained one."""

from __future__ import annotations

from torch import Tensor

from bimacosr.errors import OptionError

__all__ = ["deepen"]


def deepen(weights: dict[str, Tensor], blocks: int, wanted: int) -> dict[str, Tensor]:
    """Weights of an `EdgeNet` of `wanted` blocks that computes what the one of `blocks` does.

    The new blocks are spread evenly; each repeats the block before it with its gain at zero, so
    that it adds nothing until training finds it a use.

    Args:
        weights: State of the trained network, float or 1-bit (names `body.<block>.*`).
        blocks: Its number of blocks.
        wanted: Number of blocks of the result, from `blocks` to twice as many.

    Raises:
        OptionError: `wanted` is out of that range.
    """
    if not blocks <= wanted <= 2 * blocks:
        raise OptionError(f"{blocks} blocks can become {blocks} to {2 * blocks}, not {wanted}")
    extra = wanted - blocks
    repeated = {(i + 1) * blocks // extra - 1 for i in range(extra)}
    sources = [(i, new) for i in range(blocks) for new in (False, True) if i in repeated or not new]
    deeper = {name: value for name, value in weights.items() if not name.startswith("body.")}
    for place, (source, new) in enumerate(sources):
        prefix = f"body.{source}."
        for name, value in weights.items():
            if name.startswith(prefix):
                idle = new and name == prefix + "gain"
                copy = value.new_zeros(value.shape) if idle else value.clone()
                deeper[f"body.{place}.{name.removeprefix(prefix)}"] = copy
    return deeper
