"""Threads, processes and forced instruction sets: never another picture."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bimacosr
from bimacosr.engine import NativeBackend, instruction_sets
from bimacosr.models.catalogue import find_model
from bimacosr.pack.format import PackedModel, read_packed

ROOT = Path(__file__).parents[3]
PHOTO = ROOT / "examples" / "mountain.jpg"

needs_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork"
)
# Python 3.12 warns of what is tested here
forks_with_threads = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(scope="module")
def packed() -> PackedModel:
    return read_packed(find_model("default"))


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    with Image.open(PHOTO) as image:
        return np.asarray(image.convert("RGB"), np.float32)[:70, :91] / 255


@pytest.fixture(scope="module")
def expected(packed: PackedModel, photo: np.ndarray) -> np.ndarray:
    return enlarge(NativeBackend(packed), photo)


def enlarge(backend: NativeBackend, photo: np.ndarray) -> np.ndarray:
    return backend.restore(photo, row=0, column=0, seed=0)


def in_child(work: Callable[[], np.ndarray]) -> np.ndarray:
    """What `work` gives in a forked child, which must come to a good end."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child(sender: Connection) -> None:
        sender.send(work())

    process = context.Process(target=child, args=(sender,))
    process.start()
    sender.close()  # so that a child that dies is an EOFError
    try:
        assert receiver.poll(60), "the child gives no answer"
        result: np.ndarray = receiver.recv()
        process.join(60)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()
    return result


@pytest.mark.parametrize("isa", instruction_sets())
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_of_one_tile_change_no_bit(
    isa: str, threads: int, packed: PackedModel, photo: np.ndarray
) -> None:
    backend = NativeBackend(packed, isa)
    alone = enlarge(backend, photo)
    backend.start_worker(threads)
    assert np.array_equal(enlarge(backend, photo), alone)
    assert np.array_equal(
        enlarge(backend, photo[:1, :1]), enlarge(NativeBackend(packed, isa), photo[:1, :1])
    )


def test_threads_of_a_picture_change_no_bit() -> None:
    resolver = bimacosr.load(backend="native", tile=64)
    with Image.open(PHOTO) as image:
        pictures = [np.asarray(resolver(image, threads=threads)) for threads in (1, 2, 5)]
    assert np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[0], pictures[2])


@pytest.mark.parametrize("shared", [True, False], ids=["one backend", "two backends"])
def test_two_threads_do_not_disturb_each_other(
    shared: bool, packed: PackedModel, photo: np.ndarray, expected: np.ndarray
) -> None:
    first = NativeBackend(packed)
    second = first if shared else NativeBackend(packed)
    other_photo = np.ascontiguousarray(photo[::-1, :61])
    other_expected = enlarge(NativeBackend(packed), other_photo)
    together = threading.Barrier(2)

    def run(backend: NativeBackend, lq: np.ndarray, sr: np.ndarray) -> list[bool]:
        backend.start_worker(2)
        together.wait(60)
        return [np.array_equal(enlarge(backend, lq), sr) for _ in range(5)]

    with ThreadPoolExecutor(2) as threads:
        runs = [
            threads.submit(run, first, photo, expected),
            threads.submit(run, second, other_photo, other_expected),
        ]
        assert [run.result() for run in runs] == [[True] * 5, [True] * 5]


@needs_fork
@forks_with_threads
class TestFork:
    def test_after_use(self, packed: PackedModel, photo: np.ndarray, expected: np.ndarray) -> None:
        backend = NativeBackend(packed)
        backend.start_worker(3)
        enlarge(backend, photo)
        assert np.array_equal(in_child(lambda: enlarge(backend, photo)), expected)
        assert np.array_equal(enlarge(backend, photo), expected)

    def test_of_two_pools_with_threads(
        self, packed: PackedModel, photo: np.ndarray, expected: np.ndarray
    ) -> None:
        """The threads that the child makes for one may bear the names of the other's lost ones."""

        def used_backend() -> NativeBackend:
            backend = NativeBackend(packed)
            backend.start_worker(3)
            enlarge(backend, photo)
            return backend

        backends = [used_backend() for _ in range(3)]

        def use_and_destroy() -> np.ndarray:
            results = [enlarge(backend, photo) for backend in backends[:2]]
            while backends:  # from the last, which was not used here
                backends.pop()
            return np.stack(results)

        assert np.array_equal(in_child(use_and_destroy), np.stack([expected, expected]))

    def test_of_a_child(self, packed: PackedModel, photo: np.ndarray, expected: np.ndarray) -> None:
        backend = NativeBackend(packed)
        backend.start_worker(2)
        enlarge(backend, photo)

        def ask_a_child() -> np.ndarray:
            enlarge(backend, photo)
            return in_child(lambda: enlarge(backend, photo))

        assert np.array_equal(in_child(ask_a_child), expected)

    def test_while_another_thread_is_at_work(
        self, packed: PackedModel, photo: np.ndarray, expected: np.ndarray
    ) -> None:
        backend = NativeBackend(packed)
        begun, enough = threading.Event(), threading.Event()

        def work() -> bool:
            backend.start_worker(2)
            right = True
            while not enough.is_set():
                right &= np.array_equal(enlarge(backend, photo), expected)
                begun.set()
            return right

        with ThreadPoolExecutor(1) as other:
            working = other.submit(work)
            try:
                assert begun.wait(60)
                for _ in range(5):
                    assert np.array_equal(in_child(lambda: enlarge(backend, photo)), expected)
            finally:
                enough.set()
            assert working.result()


@needs_fork
@forks_with_threads
@pytest.mark.skipif(sys.platform != "linux", reason="the limit on threads is Linux's")
def test_a_system_that_gives_no_threads(
    packed: PackedModel, photo: np.ndarray, expected: np.ndarray
) -> None:
    """The caller does the work alone."""
    import resource

    backend = NativeBackend(packed)
    backend.start_worker(4)

    def without_threads() -> np.ndarray:
        if os.getuid() == 0:
            os.setuid(65534)  # the limit does not hold for root
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        with pytest.raises(RuntimeError, match="new thread"):
            threading.Thread(target=int).start()
        return enlarge(backend, photo)

    assert np.array_equal(in_child(without_threads), expected)


@pytest.mark.parametrize("isa", instruction_sets())
def test_an_instruction_set_forced_by_the_environment(
    isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIMACOSR_ISA", isa)
    native = bimacosr.load()
    assert isinstance(native.backend, NativeBackend)
    assert native.backend.isa == isa
    with Image.open(PHOTO) as image:
        small = image.crop((40, 60, 160, 150))
    pictures = [
        np.asarray(resolver(small), np.float64)
        for resolver in (native, bimacosr.load(backend="torch"))
    ]
    error = np.mean((pictures[0] - pictures[1]) ** 2) + 1e-20
    assert 10 * np.log10(255**2 / error) > 45
