"""A connection to one worker, from its start to its end.

One thread sends and one listens, so that no caller waits for a pipe. Once a second the worker is
probed: asked for a step of the model whose result is known. A worker that is silent for HANG
seconds while a probe is open has hung.
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
from carousel.server.protocol import Message, model_info_from_json, receive, send
from carousel.server.types import ModelInfo

START = 600.0  # seconds a worker may take to be ready: kernels may have to be compiled
TICK = 0.25  # seconds between two checks
ASK = 1.0  # seconds between two probes
STALE = 3.0  # seconds after which the last good answer no longer counts
HANG = 4.0  # seconds of silence
STARVED = 30.0  # seconds for an answer if the worker is not silent


class Worker(Protocol):
    """A running worker."""

    @property
    def inbox(self) -> BinaryIO:
        """What it reads: messages of protocol.py."""

    @property
    def outbox(self) -> BinaryIO:
        """What it writes."""

    def kill(self) -> None:
        """End it now, whatever it does. May be called again."""

    def end(self) -> str:
        """Return how it ended; kill it if it does not end within a second."""


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
        # Idle threads would spin on processors that the web app needs.
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self._process = subprocess.Popen(
            [sys.executable, "-P", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment | {"PYTHONPATH": os.pathsep.join(path)},
            process_group=0 if os.name == "posix" else None,  # Ctrl-C is for the web app
        )
        self.pid = self._process.pid
        self.inbox = cast(BinaryIO, self._process.stdin)
        self.outbox = cast(BinaryIO, self._process.stdout)

    def kill(self) -> None:
        """End it now, also if it is stopped."""
        self._process.kill()

    def end(self) -> str:
        """Return how it ended; kill it if it does not end within a second."""
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        return f"was ended by {Signals(-code).name}" if code < 0 else f"ended with code {code}"


class WorkerConnection:
    """A worker, and the threads that exchange messages with it.

    Attributes:
        worker: The worker.
        is_ready: Whether it has loaded its model.
        last_good: When it last answered a probe correctly, by time.monotonic.
    """

    def __init__(
        self,
        worker: Worker,
        on_model_info: Callable[[ModelInfo], None],
        on_ready: Callable[[], None],
        on_outputs: Callable[[list[list[Any]]], None],
    ) -> None:
        """Connect to a worker that has just been started.

        Args:
            worker: The worker.
            on_model_info: Called by another thread with its model, before it is ready; a
                CarouselError ends the worker.
            on_ready: Called by another thread when it is ready.
            on_outputs: Called by another thread with output rows.
        """
        self.worker = worker
        self.is_ready = False
        self.last_good = 0.0
        self._on_model_info = on_model_info
        self._on_ready = on_ready
        self._on_outputs = on_outputs
        self._messages: SimpleQueue[Message | None] = SimpleQueue()
        self._probe: int | None = None  # without an answer
        self._silence = 0.0  # seconds, by ticks: constant while this process is stopped
        self._over = threading.Event()
        self._error: str | None = None
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._listen, self._send)
        ]

    def send(self, message: Message) -> None:
        """Queue a message; it is dropped if the worker is gone."""
        self._messages.put(message)

    def watch(self) -> str:
        """Wait until the worker has ended or hangs; return what happened."""
        for thread in self._threads:
            thread.start()
        numbers = count()
        began = params = time.monotonic()
        while not self._over.wait(TICK):
            now = time.monotonic()
            if not self.is_ready:
                if now - began > START:
                    return f"its worker was not ready after {START:.0f} seconds"
            elif self._probe is None:
                if now - params >= ASK:
                    params, self._silence, waited, self._probe = now, 0.0, 0.0, next(numbers)
                    self.send({"probe": self._probe})
            else:
                self._silence += TICK
                waited += TICK
                if self._silence >= HANG or waited >= STARVED:
                    return f"its worker has not answered for {min(waited, HANG):.0f} seconds"
        return self._error or f"its worker {self.worker.end()}"

    def end(self) -> None:
        """End the worker and the threads."""
        self.worker.kill()
        self._messages.put(None)
        self.worker.end()
        for thread in self._threads:
            thread.join()
        for file in (self.worker.inbox, self.worker.outbox):
            with contextlib.suppress(OSError):  # by messages that were not sent
                file.close()

    def _send(self) -> None:
        with contextlib.suppress(OSError):  # it is gone, as the listener will find
            while (message := self._messages.get()) is not None:
                send(self.worker.inbox, message)

    def _listen(self) -> None:
        try:
            for message in receive(self.worker.outbox):
                self._silence = 0.0
                self._handle(message)
        except CarouselError as error:
            self._error = str(error)
        except (ValueError, KeyError, TypeError) as error:
            self._error = f"its worker sent an invalid message: {error}"
        finally:
            self._over.set()

    def _handle(self, message: Message) -> None:
        match message:
            case {"outputs": rows}:
                self._on_outputs(rows)
            case {"probe": number, "error": None} if number == self._probe:
                self.last_good, self._probe = time.monotonic(), None
            case {"error": str(error)}:  # of the start, or of a probe
                self._error = error
                self._over.set()
            case {"model": info}:
                self._on_model_info(model_info_from_json(info))
            case {"ready": True}:
                self.last_good, self.is_ready = time.monotonic(), True
                self._on_ready()
            case _:
                raise ValueError(f"{list(message)}"[:100])
