"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# the same examples on every machine, however slow it is
settings.register_profile("bimacosr", deadline=None, derandomize=True)
settings.load_profile("bimacosr")
