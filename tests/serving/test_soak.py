"""Ten minutes of everything at once: no memory, no descriptor, no thread too many in the end."""

import http.client
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from amounts import load, say, soak
from carousel.models.config import ModelConfig
from carousel.text.vocabulary import Vocabulary
from sampling.saved_model import save_run
from serving import fuzz
from serving.client import JSON, Command, command, get, is_ready
from serving.running import descriptors, memory, threads, until

VOCABULARY = Vocabulary.from_text("\n abcdefghijklmnopqrstuvwxyz.,")
MODEL = ModelConfig(embedding_size=64, hidden_size=256)
SECONDS = load(5, 600)
WARM = load(3, 180)  # seconds after which nothing may grow
CLIENTS = load(6, 24)
GROWTH = load(10_000_000, 2_000_000)  # bytes; seconds are too few to settle

pytestmark = [
    soak,
    pytest.mark.serial,
    pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc, which Linux has"),
]


class Traffic:
    """Clients of all kinds, until told to stop.

    Attributes:
        statuses: How often each kind got which status.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.problems: list[BaseException] = []
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self, seed: int) -> None:
        self._is_over.clear()
        self._threads = [
            threading.Thread(target=self._client, args=(random.Random(seed + k),))
            for k in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        assert not self.problems, self.problems[0]

    def _client(self, chooser: random.Random) -> None:
        kinds: list[Callable[[random.Random], None]] = [
            *(self._write, self._write, self._score, self._hang_up),
            *(self._fuzz, self._look, self._drip),
        ]
        try:
            while not self._is_over.is_set():
                chooser.choice(kinds)(chooser)
                time.sleep(0.01)
        except BaseException as error:
            self.problems.append(error)

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


class Size(NamedTuple):
    """What a process holds."""

    memory: int
    descriptors: int
    threads: int


def measured(server: Command) -> list[Size]:
    """Return memory, descriptors and threads of the front and each worker, at rest."""
    assert until(lambda: is_ready(server.port))
    time.sleep(load(1, 32))  # idle connections are closed
    pids = [server.process.pid, *sorted(server.workers())]
    return [Size(memory(pid), descriptors(pid), threads(pid)) for pid in pids]


def test_everything_at_once_for_ten_minutes(tmp_path: Path) -> None:
    runs = [save_run(tmp_path / name, VOCABULARY, MODEL) for name in ("one", "two")]
    with command(*map(str, runs), "--max-streams", "16") as server:
        traffic = Traffic(server.port)
        traffic.begin(seed=0)
        time.sleep(WARM)
        traffic.end()
        before = measured(server)
        pids = server.workers()
        traffic.begin(seed=1000)
        time.sleep(SECONDS - WARM)
        traffic.end()
        after = measured(server)
        say(f"{dict(traffic.statuses)}; {before}, {after}")
        assert sorted(server.workers()) == sorted(pids)
        for now, then in zip(after, before, strict=True):
            assert now.descriptors == then.descriptors
            assert now.memory - then.memory <= GROWTH
        expected = {"write": {200, 429}, "score": {200, 429}, "look": {200}}
        expected["fuzz"] = {200, 400, 403, 404, 405, 411, 413, 415, 429}
        for (kind, status), number in traffic.statuses.items():
            assert status in expected[kind], (kind, status, number)
        assert not any("Traceback" in line for line in server.lines)
        assert get(server.port, "/health/ready")[0] == 200


def test_no_fuzzed_request_is_a_fault_of_the_server(tmp_path: Path) -> None:
    run = save_run(tmp_path / "small")
    with command(str(run)) as server:
        statuses: Counter[int] = Counter()

        def client(seed: int) -> None:
            chooser = random.Random(seed)
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            with closing(connection):
                for _ in range(load(400, 21_000) // 4):
                    connection.request(*fuzz.request(chooser))
                    with connection.getresponse() as response:
                        response.read()
                        statuses[response.status] += 1

        clients = [threading.Thread(target=client, args=(seed,)) for seed in range(4)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
        say(f"fuzzed: {dict(statuses)}")
        assert sum(statuses.values()) >= load(400, 20_000)
        assert all(status < 500 for status in statuses), statuses
        assert is_ready(server.port)
