"""Ten minutes of everything at once: no memory, no descriptor, no thread too many in the end."""

import http.client
import random
import re
import socket
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import pytest

from budgets import load, say, soak
from carousel.data.vocabulary import Vocabulary
from carousel.models.config import ModelConfig
from generation.saved_model import save_run
from server import fuzz
from server.client import Command, command, get, is_ready
from server.memory_curve import environment, growth, sizes
from server.running import until
from server.traffic import Traffic

VOCABULARY = Vocabulary.from_text("\n abcdefghijklmnopqrstuvwxyz.,")
MODEL = ModelConfig(embedding_size=64, hidden_size=256)
SECONDS = load(5, 600)
WARM = load(3, 180)  # seconds after which nothing may grow
CLIENTS = load(6, 24)
PERIODS = load(2, 5)  # of traffic, each with a rest after it

# How much may be held more at the last rest than at the first, by the trend. Seconds are too few to
# settle. `heap_in_use` and `python_blocks` are what a leak adds to; `anonymous` is what the system
# counts, in which what was freed and not yet given back comes and goes.
BOUNDS = {
    "anonymous": load(10_000_000, 2_000_000),  # bytes
    "heap_in_use": load(10_000_000, 500_000),  # bytes
    "python_blocks": load(100_000, 5_000),
    "descriptors": 0,
}

pytestmark = [
    soak,
    pytest.mark.serial,
    pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc, which Linux has"),
]


def measured(server: Command, probes: Path) -> dict[str, dict[str, int]]:
    """Return what the front and each worker hold, at rest."""
    assert until(lambda: is_ready(server.port))
    time.sleep(load(1, 32))  # idle connections are closed, free memory is given back
    return sizes(server, probes)


def test_everything_at_once_for_ten_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [save_run(tmp_path / name, VOCABULARY, MODEL) for name in ("one", "two")]
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    with command(*map(str, runs), "--max-streams", "16") as server:
        traffic = Traffic(server.port, CLIENTS)
        found = []
        for period in range(PERIODS):
            traffic.begin(seed=1000 * period)
            time.sleep(WARM if period == 0 else (SECONDS - WARM) / (PERIODS - 1))
            traffic.end()
            found.append(measured(server, tmp_path))
        say(f"{dict(traffic.statuses)}")
        for name in found[0]:
            held = {key: [each[name][key] for each in found] for key in ("pid", *BOUNDS)}
            say(f"{name}: {held}")
            assert len(set(held["pid"])) == 1, "it was replaced"
            for key, bound in BOUNDS.items():
                assert growth(held[key]) <= bound, (name, key, held[key])
        expected = {"write": {200, 429}, "score": {200, 429}, "look": {200}}
        expected["fuzz"] = {200, 400, 403, 404, 405, 411, 413, 415, 429}
        for (kind, status), number in traffic.statuses.items():
            assert status in expected[kind], (kind, status, number)
        assert not any("Traceback" in line for line in server.lines)
        assert get(server.port, "/health/ready")[0] == 200


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ([5, 9], 4),
        ([5, 5, 5, 9, 5], 0),
        ([1, 2, 3, 4, 5], 4),
        ([1, 2, 9, 4, 5], 4),
        ([5, 3, 1], -4),
    ],
)
def test_growth_is_a_trend_not_a_peak(figures: list[float], expected: float) -> None:
    assert growth(figures) == expected


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

        engines = [threading.Thread(target=client, args=(seed,)) for seed in range(4)]
        for thread in engines:
            thread.start()
        for thread in engines:
            thread.join()
        say(f"fuzzed: {dict(statuses)}")
        assert sum(statuses.values()) >= load(400, 20_000)
        assert all(status < 500 for status in statuses), statuses
        assert is_ready(server.port)


def answered(port: int, data: bytes) -> list[int]:
    """Send bytes, and return the statuses of all answers until there are no more for a while."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        with suppress(OSError):
            connection.sendall(data)
        received = b""
        connection.settimeout(0.2)
        with suppress(ConnectionError, TimeoutError):
            while part := connection.recv(100_000):
                received += part
    return [int(status) for status in re.findall(rb"^HTTP/1\.[01] (\d{3}) ", received, re.M)]


def test_no_fuzzed_bytes_are_a_fault_of_the_server(tmp_path: Path) -> None:
    """Of the heads of requests; each answer is one that is defined, and others are answered."""
    run = save_run(tmp_path / "small")
    with command(str(run)) as server:
        statuses: Counter[int] = Counter()

        def client(seed: int) -> None:
            chooser = random.Random(seed)
            for _ in range(load(400, 4_000) // 4):
                statuses.update(answered(server.port, fuzz.raw(chooser)))

        engines = [threading.Thread(target=client, args=(seed,)) for seed in range(4)]
        for thread in engines:
            thread.start()
        for thread in engines:
            thread.join()
        say(f"fuzzed bytes: {dict(statuses)}")
        assert statuses.keys() <= {200, 204, 400, 403, 404, 405, 413, 415, 421, 429, 431}, statuses
        assert min(statuses[status] for status in (200, 400)) > load(5, 100)
        assert not any("Traceback" in line or "uncaptured" in line for line in server.lines)
        assert is_ready(server.port)
