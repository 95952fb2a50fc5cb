"""A cache of the test's own, a server, and a release that lies on it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bimacosr.models import transfer
from bimacosr.models.releases import License, Release
from tests.unit.models.file_server import FileServer, serving

CONTENT = np.random.default_rng(8).bytes(700_001)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
TERMS = License(name="Test License 1", terms="only for tests", address="https://example.org/text")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the downloaded files; nothing else of the environment matters."""
    for name in ("BIMACOSR_MIRROR", "BIMACOSR_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BIMACOSR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(CONTENT) as running:
        yield running


@pytest.fixture
def release(server: FileServer, cache: Path) -> Release:
    """A file of which nothing is known beforehand."""
    return Release(file="net.pth", folder=server.address, summary="a network", license=TERMS)


@pytest.fixture
def known(server: FileServer, cache: Path) -> Release:
    """A file of which size and hash are published."""
    return Release(
        file="net.pth",
        folder=server.address,
        summary="a network",
        license=TERMS,
        size=len(CONTENT),
        sha256=SHA256,
    )


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Between attempts nobody waits; these are the seconds that would have passed."""
    slept: list[float] = []
    monkeypatch.setattr(transfer, "time", SimpleNamespace(sleep=slept.append))
    return slept
