"""Threads that serve requests: as many as are needed, the last to become idle asked first.

waitress has a fixed number of them and asks them in turn. Then each of them touches its stack, and
fills the cache in which glibc keeps freed memory for each thread (up to a quarter of a megabyte),
however few are needed at the same time: memory that grows for as long as it takes until all have
met the largest request. Here a thread that nobody needs ends, and gives back both.
"""

import contextlib
import ctypes
import logging
import threading
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import Protocol

IDLE = 5.0  # seconds after which a thread that nobody needs ends

log = logging.getLogger("carousel.server")


def share_one_heap() -> None:
    """Make all new threads use one heap, if the C library is glibc.

    It would give each of them one, up to eight a core, and what is free in one is of no use to
    another. They hold the interpreter's lock by turns, and so do not wait for the one heap.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another library, or system
        ctypes.CDLL(None).mallopt(-8, 1)  # M_ARENA_MAX


def give_back_memory() -> None:
    """Return what is free to the system, where the C library is glibc, also between what is held.

    By itself it returns the end of the heap alone, and a block that is held there keeps all before
    it: what a busy moment took would stay.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


class Task(Protocol):
    """A connection whose request is complete, as waitress hands it to a thread."""

    def service(self) -> None:
        """Serve the request."""

    def cancel(self) -> None:
        """Drop the request."""


class ThreadDispatcher:
    """A task dispatcher of waitress with a maximum of threads; further tasks queue in order."""

    def __init__(self, most: int) -> None:
        """Start none yet."""
        self._most = most
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._idle: list[SimpleQueue[Task | None]] = []
        self._waiting: deque[Task] = deque()
        self._is_over = False

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._threads)

    def add_task(self, task: Task) -> None:
        """Have a task done, as soon as a thread is idle."""
        with self._lock:
            if self._idle:
                self._idle.pop().put(task)
            elif len(self._threads) < self._most:
                thread = threading.Thread(target=self._work, args=(task,), daemon=True)
                self._threads.add(thread)
                thread.start()
            else:
                self._waiting.append(task)

    def drop(self, task: Task) -> None:
        """Remove a task from the queue, if it is still there."""
        with self._lock, contextlib.suppress(ValueError):
            self._waiting.remove(task)

    def shutdown(self, timeout: float) -> bool:
        """Cancel what waits, and return whether all threads have ended within so many seconds."""
        with self._lock:
            self._is_over = True
            for task in self._waiting:
                task.cancel()
            self._waiting.clear()
            for own in self._idle:
                own.put(None)
            threads = list(self._threads)
        end = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _work(self, task: Task | None) -> None:
        """Run this task and later ones, until none has come for a while."""
        own: SimpleQueue[Task | None] = SimpleQueue()
        while task is not None:
            try:
                task.service()
            except BaseException:  # the thread is for others too
                log.exception("a request ended with a fault of the server")
            task = self._next(own)
        with self._lock:
            self._threads.discard(threading.current_thread())
            is_at_rest = not self._threads
        if is_at_rest:
            give_back_memory()

    def _next(self, own: SimpleQueue[Task | None]) -> Task | None:
        """Return the next task; None if the thread is to end."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._is_over:
                return None
            self._idle.append(own)
        with contextlib.suppress(Empty):
            return own.get(timeout=IDLE)
        with self._lock:
            if own in self._idle:
                self._idle.remove(own)
                return None
        return own.get()  # one has come just now
