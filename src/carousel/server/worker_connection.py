"""One worker from its start to its end, seen from the front: told, heard and watched.

Whoever tells it something never waits for a pipe: one thread sends, one listens. It is asked for
a step of the model with a known outcome once a second; a worker that is silent for HANG seconds
with the question open has hung.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from signal import Signals
from typing import Any, BinaryIO, Protocol, cast

import carousel
from carousel.errors import CarouselError
from carousel.server.protocol import Message, card_from_json, receive, send
from carousel.server.types import Card

START = 600.0  # seconds a worker may take to be ready: kernels may have to be compiled
TICK = 0.25  # seconds between two looks at the worker
ASK = 1.0  # seconds between two probes
STALE = 3.0  # seconds after which a good answer says nothing of now
HANG = 4.0  # seconds of silence
STARVED = 30.0  # seconds for an answer where the worker is not silent


class Worker(Protocol):
    """A worker that runs: what it reads, what it writes, and its end."""

    @property
    def inbox(self) -> BinaryIO:
        """What it reads: lines of protocol.py."""

    @property
    def outbox(self) -> BinaryIO:
        """What it writes."""

    def kill(self) -> None:
        """End it now, whatever it does; as often as one likes."""

    def end(self) -> str:
        """Return how it ended; kill it if it does not within a second."""


class Process:
    """A worker in a process of its own.

    Attributes:
        pid: The number of the process.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        """Start Python with these arguments; OSError if that is impossible."""
        own = str(Path(carousel.__file__).parents[1])  # the same code, wherever it was found
        path = [own, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {k: v for k, v in os.environ.items() if k != "CAROUSEL_TOKEN"}
        # Threads without work would spin on the processors that the front needs too.
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self._process = subprocess.Popen(
            [sys.executable, "-P", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment | {"PYTHONPATH": os.pathsep.join(path)},
            process_group=0 if os.name == "posix" else None,  # Ctrl-C is for the front
        )
        self.pid = self._process.pid
        self.inbox = cast(BinaryIO, self._process.stdin)
        self.outbox = cast(BinaryIO, self._process.stdout)

    def kill(self) -> None:
        """End it now, also where it is stopped."""
        self._process.kill()

    def end(self) -> str:
        """Return how it ended; kill it if it does not within a second."""
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        return f"was ended by {Signals(-code).name}" if code < 0 else f"ended with code {code}"


class Shift:
    """A worker, and the threads that talk with it.

    Attributes:
        worker: The worker.
        is_ready: Whether it has ever been able to write.
        last_good: When its last step with the known outcome came, by time.monotonic.
    """

    def __init__(
        self,
        worker: Worker,
        on_card: Callable[[Card], None],
        on_ready: Callable[[], None],
        on_news: Callable[[list[list[Any]]], None],
    ) -> None:
        """Take charge of a worker that has just been started.

        Args:
            worker: The worker.
            on_card: Called by another thread with the card of its model, before it can write; a
                CarouselError ends the worker.
            on_ready: Called by another thread when it can write.
            on_news: Called by another thread with its news.
        """
        self.worker = worker
        self.is_ready = False
        self.last_good = 0.0
        self._on_card = on_card
        self._on_ready = on_ready
        self._on_news = on_news
        self._orders: SimpleQueue[Message | None] = SimpleQueue()
        self._open: int | None = None  # the probe without an answer
        self._silence = 0.0  # seconds, by our own ticks: if we stood still, so did the count
        self._over = threading.Event()
        self._error: str | None = None
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._listen, self._send)
        ]

    def tell(self, message: Message) -> None:
        """Send a message; if the worker is gone, nowhere."""
        self._orders.put(message)

    def watch(self) -> str:
        """Wait until the worker has ended or hangs, and return what happened."""
        for thread in self._threads:
            thread.start()
        numbers = count()
        began = asked = time.monotonic()
        while not self._over.wait(TICK):
            now = time.monotonic()
            if not self.is_ready:
                if now - began > START:
                    return f"its worker was not ready after {START:.0f} seconds"
            elif self._open is None:
                if now - asked >= ASK:
                    asked, self._silence, waited, self._open = now, 0.0, 0.0, next(numbers)
                    self.tell({"probe": self._open})
            else:
                self._silence += TICK
                waited += TICK
                if self._silence >= HANG or waited >= STARVED:
                    return f"its worker has not answered for {min(waited, HANG):.0f} seconds"
        return self._error or f"its worker {self.worker.end()}"

    def end(self) -> None:
        """End the worker and the threads."""
        self.worker.kill()
        self._orders.put(None)
        self.worker.end()
        for thread in self._threads:
            thread.join()
        for file in (self.worker.inbox, self.worker.outbox):
            with contextlib.suppress(OSError):  # of what it was still to be told
                file.close()

    def _send(self) -> None:
        with contextlib.suppress(OSError):  # it is gone, as the listener will find
            while (message := self._orders.get()) is not None:
                send(self.worker.inbox, message)

    def _listen(self) -> None:
        try:
            for message in receive(self.worker.outbox):
                self._silence = 0.0
                self._take(message)
        except CarouselError as error:
            self._error = str(error)
        except (ValueError, KeyError, TypeError) as error:
            self._error = f"its worker says what makes no sense: {error}"
        finally:
            self._over.set()

    def _take(self, message: Message) -> None:
        match message:
            case {"news": news}:
                self._on_news(news)
            case {"probe": number, "error": None} if number == self._open:
                self.last_good, self._open = time.monotonic(), None
            case {"error": str(error)}:  # of the start, or of a probe
                self._error = error
                self._over.set()
            case {"card": card}:
                self._on_card(card_from_json(card))
            case {"ready": True}:
                self.last_good, self.is_ready = time.monotonic(), True
                self._on_ready()
            case _:
                raise ValueError(f"{list(message)}"[:100])
