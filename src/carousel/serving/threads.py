"""Threads that serve requests: the one that was idle for the shortest time is asked first.

waitress asks them in turn. Then each of them touches its stack, and fills the cache in which glibc
keeps freed memory for each thread (up to a quarter of a megabyte), however few are needed at the
same time: memory that grows for as long as it takes until all have met the largest request.
"""

import contextlib
import ctypes
import logging
import threading
import time
from collections import deque
from queue import SimpleQueue
from typing import Protocol

log = logging.getLogger("carousel.serving")


def share_one_heap() -> None:
    """Let all threads to come take memory from one heap, where the C library is glibc.

    It would give each of them one, up to eight a core, and what is free in one is of no use to
    another. They hold the interpreter's lock by turns, and so do not wait for the one heap.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another library, or system
        ctypes.CDLL(None).mallopt(-8, 1)  # M_ARENA_MAX


class Task(Protocol):
    """What waitress has done by a thread: a connection whose request is complete."""

    def service(self) -> None:
        """Do it."""

    def cancel(self) -> None:
        """Do it no more."""


class Threads:
    """A fixed number of threads, a dispatcher of waitress; what is too much waits in order."""

    def __init__(self, number: int) -> None:
        """Start them."""
        self._lock = threading.Lock()
        self._waiting: deque[Task] = deque()
        self._is_over = False
        self._idle: list[SimpleQueue[Task | None]] = [SimpleQueue() for _ in range(number)]
        self._threads = [
            threading.Thread(target=self._work, args=(own,), daemon=True) for own in self._idle
        ]
        for thread in self._threads:
            thread.start()

    def add_task(self, task: Task) -> None:
        """Have a task done, as soon as a thread is idle."""
        with self._lock:
            if self._idle:
                self._idle.pop().put(task)
            else:
                self._waiting.append(task)

    def shutdown(self, timeout: float) -> bool:
        """Cancel what waits, and return whether all threads have ended within so many seconds."""
        with self._lock:
            self._is_over = True
            for task in self._waiting:
                task.cancel()
            self._waiting.clear()
            for own in self._idle:
                own.put(None)
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, own: SimpleQueue[Task | None]) -> None:
        while (task := own.get()) is not None:
            while task is not None:
                try:
                    task.service()
                except BaseException:  # the thread is for others too
                    log.exception("a request ended with a fault of the server")
                task = self._next(own)

    def _next(self, own: SimpleQueue[Task | None]) -> Task | None:
        """Return a task that waits; if there is none, note that the thread is idle."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._is_over:
                own.put(None)
            else:
                self._idle.append(own)
            return None
