"""What the tests of serving run: a worker in a thread, an app on a port, models to interrupt."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flask import Flask

from carousel.data.default_prompt import opening_of
from carousel.data.vocabulary import Vocabulary
from carousel.generation.engine import Engine
from carousel.models.base import LanguageModel
from carousel.server.http_server import Server, bind
from carousel.server.protocol import send
from carousel.server.supervised_worker import MAX_STREAMS, SupervisedWorker
from carousel.server.worker import make_probe, run
from generation.markov import Markov


class ThreadWorker:
    """A worker in a thread of this process, behind a socket; killing it cuts the socket."""

    def __init__(
        self,
        model: LanguageModel,
        vocabulary: Vocabulary,
        name: str = "small",
        fingerprint: str = "",
    ) -> None:
        ours, self._theirs = socket.socketpair()
        self.inbox, self.outbox = ours.makefile("wb"), ours.makefile("rb")
        ours.close()  # when both files are
        self._work = (model, vocabulary, name, fingerprint)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        model, vocabulary, name, fingerprint = self._work
        with (
            self._theirs,
            self._theirs.makefile("rb") as inbox,
            self._theirs.makefile("wb", buffering=0) as outbox,
            suppress(BrokenPipeError),  # it was killed before it was ready
        ):
            known = name, vocabulary.itos, model.max_length
            opening = opening_of({}, vocabulary)
            send(outbox, {"model": [*known, opening, 1_700_000_000, fingerprint]})
            probe = make_probe(model, 1e-3)
            engine = Engine(model)
            send(outbox, {"ready": True})
            run(engine, vocabulary, probe, inbox, outbox)

    def kill(self) -> None:
        with suppress(OSError):  # it is closed
            self._theirs.shutdown(socket.SHUT_RDWR)

    def end(self) -> str:
        self._thread.join(timeout=1)
        self.kill()
        self._thread.join(timeout=5)
        return "ended"


@contextmanager
def thread_engine(
    model: LanguageModel,
    vocabulary: Vocabulary,
    *,
    name: str = "small",
    max_streams: int = MAX_STREAMS,
) -> Iterator[SupervisedWorker]:
    """Yield a writer whose workers are threads of this process."""
    engine = SupervisedWorker(lambda: ThreadWorker(model, vocabulary, name), max_streams)
    try:
        engine.wait()
        yield engine
    finally:
        engine.close()


@contextmanager
def served(app: Flask, **how: int) -> Iterator[Server]:
    """Serve the app at a free port of 127.0.0.1, and yield the server."""
    server = bind(app, port=0, **how)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        server.stop()  # at once
        thread.join(timeout=20)
        assert not thread.is_alive()


@contextmanager
def serving(app: Flask) -> Iterator[int]:
    """Serve the app at a free port of 127.0.0.1, and yield the port."""
    with served(app) as server:
        yield server.port


class Slow(Markov):
    """A Markov chain that takes its time and counts its steps."""

    def __init__(self, vocab_size: int, seconds: float) -> None:
        super().__init__(vocab_size)
        self.seconds = seconds
        self.steps = 0

    def forward(self, tokens, state=None):
        self.steps += 1
        time.sleep(self.seconds)
        return super().forward(tokens, state)


def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Wait for a condition; return whether it came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def descriptors(pid: int | str = "self") -> int:
    """Return how many files, pipes and sockets a process holds open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int | str = "self") -> int:
    """Return how many threads a process has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def at_rest() -> tuple[int, int]:
    """Return the descriptors and threads of this process, once their numbers no longer change."""
    found: list[tuple[int, int]] = []

    def is_same() -> bool:
        time.sleep(0.3)
        found.append((descriptors(), threads()))
        return found[-1] == found[-2:][0] and len(found) > 1

    assert until(is_same)
    return found[-1]


def memory(pid: int | str = "self") -> int:
    """Return RssAnon, the memory that a process has for itself, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")
