"""Pillow held in check: its warnings, its own size limit and its log do not leave this room."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

__all__ = ["quiet_pillow"]

# Without a handler of its own, Python prints a library's errors to the terminal.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_lock = threading.RLock()


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence Pillow's warnings and lift its pixel limit; ours was compared before.

    Both are settings of the whole process, so one thread at a time is let in.
    """
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
