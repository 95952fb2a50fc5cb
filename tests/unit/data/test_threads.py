"""Several threads: results in order, few in flight, and PyTorch left to each alone."""

from __future__ import annotations

import time
from contextlib import closing
from threading import Lock, Thread

import pytest
import torch

from bimacosr.data.threads import compute_alone
from bimacosr.io.parallel import in_order


@pytest.fixture
def two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield None
    torch.set_num_threads(before)


def test_results_come_in_order() -> None:
    def work(n: int) -> int:
        time.sleep(0.001 * (10 - n))
        return n * n

    assert list(in_order(work, range(10), 4)) == [n * n for n in range(10)]


def test_few_are_in_flight() -> None:
    begun, lock = [0], Lock()

    def work(n: int) -> int:
        with lock:
            begun[0] += 1
        return n

    with closing(in_order(work, range(100), 2)) as results:
        for taken, _ in enumerate(results):
            assert begun[0] <= taken + 3
            if taken == 10:
                break
    assert begun[0] <= 14


def test_an_error_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda n: 1 // n, [1, 0, 1], 2))


@pytest.mark.usefixtures("two_threads")
def test_pytorch_computes_on_one_thread_there_and_on_all_elsewhere() -> None:
    seen: dict[str, int] = {}

    def alone() -> None:
        compute_alone()
        seen["alone"] = torch.get_num_threads()

    def later() -> None:
        seen["later"] = torch.get_num_threads()

    for target in (alone, later):
        thread = Thread(target=target)
        thread.start()
        thread.join()
    assert seen == {"alone": 1, "later": 2}
    assert torch.get_num_threads() == 2
    assert (
        list(in_order(lambda _: torch.get_num_threads(), range(4), 2, initializer=compute_alone))
        == [1] * 4
    )
