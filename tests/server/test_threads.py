"""Threads for requests: no more of them than are needed, and what waits is done in order."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from carousel.server import threads as threads_
from carousel.server.threads import ThreadDispatcher
from server.running import at_rest, until


class Task:
    """Notes who did it, and waits for a gate."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.gate = gate
        self.by: int | None = None
        self.is_cancelled = False

    def service(self) -> None:
        self.by = threading.get_ident()
        if self.gate:
            assert self.gate.wait(timeout=10)

    def cancel(self) -> None:
        self.is_cancelled = True


def test_one_after_the_other_is_done_by_one_thread() -> None:
    threads = ThreadDispatcher(8)
    tasks = [Task() for _ in range(50)]
    for task in tasks:
        threads.add_task(task)
        assert until(lambda task=task: task.by is not None and len(threads._idle) == 1)
    assert len({task.by for task in tasks}) == 1
    assert threads.shutdown(timeout=5)


def test_a_thread_that_nobody_needs_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_, "IDLE", 0.2)
    threads, gate = ThreadDispatcher(8), threading.Event()
    tasks = [Task(gate) for _ in range(5)]
    for task in tasks:
        threads.add_task(task)
    assert len(threads) == 5
    gate.set()
    for _ in range(30):  # one is needed, and not each in turn
        time.sleep(0.02)
        threads.add_task(Task())
    assert len(threads) == 1
    assert until(lambda: len(threads) == 0)
    assert threads.shutdown(timeout=5)


def test_no_task_is_lost_to_a_thread_that_is_about_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_, "IDLE", 0.001)
    threads = ThreadDispatcher(2)
    for _ in range(300):
        task = Task()
        threads.add_task(task)
        assert until(lambda task=task: task.by is not None)
        time.sleep(0.001)
    assert threads.shutdown(timeout=5)


def test_as_many_at_once_as_there_are_and_the_rest_in_order() -> None:
    before = at_rest()
    threads, gate = ThreadDispatcher(3), threading.Event()
    tasks = [Task(gate) for _ in range(10)]
    for task in tasks:
        threads.add_task(task)
    assert until(lambda: sum(task.by is not None for task in tasks) == 3)
    assert all(task.by for task in tasks[:3])
    gate.set()
    assert until(lambda: all(task.by for task in tasks))
    assert threads.shutdown(timeout=5)
    assert at_rest() == before


def test_what_waits_at_the_end_is_cancelled_and_what_is_done_is_waited_for() -> None:
    threads, gate = ThreadDispatcher(1), threading.Event()
    done, waiting = Task(gate), Task()
    threads.add_task(done)
    threads.add_task(waiting)
    assert until(lambda: done.by is not None)
    assert not threads.shutdown(timeout=0.1)
    assert (waiting.is_cancelled, waiting.by) == (True, None)
    gate.set()
    assert threads.shutdown(timeout=5)


def test_a_fault_of_one_task_is_told_and_does_no_harm_to_the_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Faulty(Task):
        def service(self) -> None:
            raise RuntimeError("at fault")

    threads, next_ = ThreadDispatcher(1), Task()
    threads.add_task(Faulty())
    threads.add_task(next_)
    assert until(lambda: next_.by is not None)
    assert threads.shutdown(timeout=5)
    assert "at fault" in caplog.text


def test_memory_is_given_back_when_the_last_thread_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_, "IDLE", 0.05)
    left: list[int] = []
    threads = ThreadDispatcher(3)
    monkeypatch.setattr(threads_, "give_back_memory", lambda: left.append(len(threads)))
    gate = threading.Event()
    for task in [Task(gate) for _ in range(3)]:
        threads.add_task(task)
    gate.set()
    assert until(lambda: left == [0])


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc, which Linux has")
def test_what_is_free_between_what_is_held_goes_back_to_the_system() -> None:
    """In a process of its own: 64 MB of small blocks of which each hundredth is held."""
    code = """
import ctypes, sys
from carousel.server.threads import give_back_memory, share_one_heap
from server.running import memory
share_one_heap()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
blocks = [libc.malloc(1000) for _ in range(64_000)]
for block in blocks:
    ctypes.memset(block, 1, 1000)
for k, block in enumerate(blocks):
    if k % 100:
        libc.free(block)
before = memory("self")
give_back_memory()
print(before - memory("self"))
"""
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=tests, capture_output=True, text=True, check=True)
    assert int(found.stdout) > 30_000_000
