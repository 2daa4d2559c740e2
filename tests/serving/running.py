"""A served app for a test, and a model slow enough to be interrupted."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from waitress import wasyncore

from carousel.serving.server import bind
from sampling.markov import Markov


@contextmanager
def serving(app: Flask) -> Iterator[int]:
    """Serve the app at a free port of 127.0.0.1, and yield the port."""
    server = bind(app, port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield int(server.effective_port)
    finally:
        server.trigger.pull_trigger(lambda: wasyncore.close_all(server._map))
        thread.join(timeout=10)
        server.task_dispatcher.shutdown()


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
