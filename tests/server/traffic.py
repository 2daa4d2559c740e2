"""Clients of all kinds at once: texts, scores, looks, fuzz, and those who hang up or drip."""

import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress

from server import fuzz
from server.client import JSON


class Traffic:
    """Clients of all kinds, until told to stop.

    Args:
        port: Of the server on this machine; it has the models `one` and `two`.
        clients: How many ask at the same time.
        pause: Seconds of each between an answer and its next request.

    Attributes:
        statuses: How often each kind got which status.
    """

    def __init__(self, port: int, engines: int, pause: float = 0.01) -> None:
        self.port = port
        self.engines = engines
        self.pause = pause
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.problems: list[BaseException] = []
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self, seed: int) -> None:
        self._is_over.clear()
        self._threads = [
            threading.Thread(target=self._client, args=(random.Random(seed + k),))
            for k in range(self.engines)
        ]
        for thread in self._threads:
            thread.start()

    def end(self, *, is_strict: bool = True) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        assert not (is_strict and self.problems), self.problems[0]

    def _client(self, chooser: random.Random) -> None:
        while not self._is_over.is_set():
            try:
                self._ask_all(chooser)
            except BaseException as error:
                self.problems.append(error)

    def _ask_all(self, chooser: random.Random) -> None:
        kinds: list[Callable[[random.Random], None]] = [
            *(self._write, self._write, self._score, self._hang_up),
            *(self._fuzz, self._look, self._drip),
        ]
        while not self._is_over.is_set():
            chooser.choice(kinds)(chooser)
            time.sleep(self.pause)

    def _send(
        self, kind: str, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with closing(connection):
            connection.request(method, path, body, headers)
            with connection.getresponse() as response:
                self.statuses[kind, response.status] += 1
                return response.read()

    def _write(self, chooser: random.Random) -> None:
        body = {
            "model": chooser.choice(["one", "two"]),
            "prompt": "".join(chooser.choices("abc def.", k=chooser.choice([0, 5, 50, 4000]))),
            "max_tokens": chooser.choice([1, 20, 300]),
            "temperature": chooser.choice([0, 0.8, 1.5]),
            "top_p": chooser.choice([1, 0.9]),
            "n": chooser.choice([1, 1, 4]),
            "stop": chooser.choice([None, "\n", [".", "th"]]),
            "logprobs": chooser.choice([None, None, 5]),
            "stream": chooser.random() < 0.5,
        }
        data = self._send("write", "POST", "/v1/completions", json.dumps(body).encode(), JSON)
        if body["stream"] and data.startswith(b":"):
            assert data.endswith(b"data: [DONE]\n\n")
            assert b'"error"' not in data

    def _score(self, chooser: random.Random) -> None:
        text = "".join(chooser.choices("abc def.", k=chooser.choice([2, 50, 1000])))
        body = json.dumps({"text": text, "alternatives": chooser.choice([0, 3])}).encode()
        self._send("score", "POST", "/v1/score", body, JSON)

    def _hang_up(self, chooser: random.Random) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with closing(connection):
            body = {"prompt": "a", "max_tokens": 4000, "stream": chooser.random() < 0.5}
            connection.request("POST", "/v1/completions", json.dumps(body), JSON)
            time.sleep(chooser.random() * 0.05)

    def _fuzz(self, chooser: random.Random) -> None:
        self._send("fuzz", *fuzz.request(chooser))

    def _look(self, chooser: random.Random) -> None:
        path = chooser.choice(["/", "/metrics", "/v1/models", "/health/ready", "/openapi.json"])
        self._send("look", "GET", path, None, {})

    def _drip(self, chooser: random.Random) -> None:
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection,
        ):
            for byte in b"POST /v1/comp":
                connection.send(bytes([byte]))
                time.sleep(0.01)
