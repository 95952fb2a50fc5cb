"""The goldens need the reference folder beside the repository; without it they are skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden.reference import FOLDER, synth


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    if FOLDER.is_dir():
        return
    skip = pytest.mark.skip(reason=f"the golden reference data are not at {FOLDER}")
    for item in items:
        if here in item.path.parents:
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def numpy_stream() -> None:
    """numpy draws the published numbers, or no golden can agree."""
    synth().self_test()
