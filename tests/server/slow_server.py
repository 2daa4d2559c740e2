"""A server whose model does nothing but wait, so that its pace does not depend on the machine.

`slow_server.py SECONDS MAX_STREAMS` serves, says its port and ends with its stdin; each character
of a batch takes so many seconds. `slow_server.py SECONDS` is its worker.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).parents[1]
CHARACTERS = "\n abcdefghijklmnop"


@contextmanager
def slow_server(seconds: float, max_streams: int) -> Iterator[tuple[int, int]]:
    """Yield the port of such a server, and the number of its process."""
    with subprocess.Popen(
        [sys.executable, __file__, str(seconds), str(max_streams)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(TESTS)},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
        process.stdin.close()


def main(seconds: float, max_streams: int) -> None:
    """Serve until stdin ends."""
    from carousel.server.app import create_app
    from carousel.server.http_server import bind
    from carousel.server.supervised_worker import SupervisedWorker
    from carousel.server.worker_connection import Process

    engine = SupervisedWorker(lambda: Process([__file__, str(seconds)]), max_streams)
    engine.wait()
    server = bind(create_app([engine]), port=0, streams=max_streams)

    def follow() -> None:
        sys.stdin.read()
        server.stop()
        server.stop()

    threading.Thread(target=follow, daemon=True).start()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    server.run(engine.close)


def work(seconds: float) -> None:
    """Write until stdin ends."""
    from carousel.data.vocabulary import Vocabulary
    from carousel.generation.engine import Engine
    from carousel.server.protocol import send
    from carousel.server.worker import make_probe, run
    from server.running import Slow

    vocabulary = Vocabulary.from_text(CHARACTERS)
    model = Slow(len(vocabulary), seconds)
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    send(outbox, {"model": ["slow", vocabulary.itos, None, "", 1_700_000_000]})
    probe, engine = make_probe(model, 1e-3), Engine(model)
    send(outbox, {"ready": True})
    run(engine, vocabulary, probe, inbox, outbox)


if __name__ == "__main__":
    match sys.argv[1:]:
        case [seconds, max_streams]:
            main(float(seconds), int(max_streams))
        case [seconds]:
            work(float(seconds))
