"""BiMaCoSR: four times larger photographs by a 1-bit one-step diffusion model.

    import bimacosr

    resolver = bimacosr.load()
    large = resolver(image)            # a Pillow image, a numpy array or a path

`import bimacosr` itself loads neither numpy nor PyTorch; `load` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bimacosr import errors
from bimacosr.errors import BimacosrError

if TYPE_CHECKING:
    from bimacosr.resolver import SuperResolver, load

__all__ = ["BimacosrError", "SuperResolver", "__version__", "errors", "load"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the resolver when it is first asked for."""
    if name in ("SuperResolver", "load"):
        from bimacosr import resolver

        return getattr(resolver, name)
    raise AttributeError(f"module 'bimacosr' has no attribute {name!r}")
