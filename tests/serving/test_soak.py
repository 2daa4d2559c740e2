"""Ten minutes of everything at once: no memory, no descriptor, no thread too many in the end."""

import http.client
import random
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from amounts import load, say, soak
from carousel.models.config import ModelConfig
from carousel.text.vocabulary import Vocabulary
from sampling.saved_model import save_run
from serving import fuzz
from serving.client import Command, command, get, is_ready
from serving.running import descriptors, memory, threads, until
from serving.traffic import Traffic

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
        traffic = Traffic(server.port, CLIENTS)
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
