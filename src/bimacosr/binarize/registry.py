"""The binarization methods, by name. A new method is one file in `methods/` and one row here."""

from __future__ import annotations

from bimacosr.binarize.method import BinarizeMethod
from bimacosr.binarize.methods import bbcu, bidm, bimacosr, horq, reactnet, reste, xnor
from bimacosr.errors import OptionError

__all__ = ["METHODS", "find_method"]


def _by_id(*methods: BinarizeMethod) -> dict[str, BinarizeMethod]:
    table: dict[str, BinarizeMethod] = {}
    for method in methods:
        if method.id in table:
            raise ValueError(f"two binarization methods are called {method.id!r}")
        table[method.id] = method
    return table


METHODS = _by_id(
    bimacosr.METHOD,
    xnor.METHOD,
    horq.METHOD,
    reste.METHOD,
    reactnet.METHOD,
    bbcu.METHOD,
    bidm.METHOD,
)


def find_method(name: str) -> BinarizeMethod:
    """The method of that name.

    Raises:
        OptionError: there is none; nothing is ever left unbinarized in silence.
    """
    if name not in METHODS:
        raise OptionError(
            f"there is no binarization method {name!r}; choose one of {', '.join(sorted(METHODS))}"
        )
    return METHODS[name]
