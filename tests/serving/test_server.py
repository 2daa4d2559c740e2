"""The app on a real port: it streams, stops for who has gone, turns away whom it cannot serve."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from carousel.errors import CarouselError
from carousel.sampling.config import SamplingConfig
from carousel.sampling.generate import continue_text
from carousel.serving.app import create_app
from carousel.serving.server import bind
from carousel.text.vocabulary import Vocabulary
from sampling.markov import Markov
from sampling.saved_model import save_run
from serving.running import Slow, serving

ROOT = Path(__file__).parents[2]
VOCABULARY = Vocabulary.from_text("\n abcde")
V = len(VOCABULARY)


@contextmanager
def ask(port: int, **body: object) -> Iterator[http.client.HTTPResponse]:
    """Ask for a text; leaving the block hangs up, whether it has ended or not."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/generate", json.dumps(body), {"Content-Type": "application/json"})
    with closing(connection), connection.getresponse() as response:
        yield response


def status(port: int) -> int:
    with ask(port, length=1) as response:
        return response.status


def text(stream: bytes) -> str:
    events = [line.removeprefix("data: ") for line in stream.decode().split("\n\n")]
    assert events[-2:] == ["[DONE]", ""]
    return "".join(json.loads(event).get("text", "") for event in events[1:-2])


def until(condition, seconds: float = 10) -> bool:
    """Wait for a condition; return whether it came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_the_text_comes_while_it_is_written() -> None:
    model = Slow(V, seconds=0.02)
    with serving(create_app(model, VOCABULARY)) as port, ask(port, length=100) as response:
        response.read1(100)
        assert model.steps < 50  # the whole text takes a hundred
        assert response.getheader("Cache-Control") == "no-store"
        assert response.getheader("X-Accel-Buffering") == "no"


def test_the_work_stops_when_the_client_goes_and_the_place_is_free() -> None:
    model = Slow(V, seconds=0.01)
    with serving(create_app(model, VOCABULARY, max_streams=1)) as port:
        with ask(port, length=4000) as response:
            response.read1(100)
            with ask(port, length=1) as busy:
                assert (busy.status, busy.getheader("Retry-After")) == (429, "1")
        assert until(lambda: status(port) == 200)  # to its end it would have taken 40 s
        before = model.steps
        time.sleep(0.3)
        assert model.steps <= before + 2


def test_as_many_texts_as_promised_at_once_and_health_besides() -> None:
    model = Slow(V, seconds=0.02)
    app = create_app(model, VOCABULARY, max_streams=12)
    with serving(app) as port, ExitStack() as stack:
        streams = [stack.enter_context(ask(port, length=50)) for _ in range(12)]
        assert [stream.status for stream in streams] == [200] * 12
        begun = [stream.read(1) for stream in streams]
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/healthz")
            assert json.load(connection.getresponse())["status"] == "ok"
        assert model.steps < 12 * 50
        texts = [text(b + stream.read()) for b, stream in zip(begun, streams, strict=True)]
        assert [len(each) for each in texts] == [50] * 12


def test_the_same_request_gives_the_same_text_alone_and_beside_others() -> None:
    model = Markov(V)
    requests = [{"prompt": "ab", "seed": seed, "length": 80} for seed in (1, 2, 3)]
    want = [
        "".join(
            continue_text(model, VOCABULARY, "ab", SamplingConfig(seed=request["seed"]), length=80)
        )
        for request in requests
    ]
    got: dict[int, str] = {}

    def client(number: int) -> None:
        with ask(port, **requests[number % 3]) as response:
            got[number] = text(response.read())

    with serving(create_app(model, VOCABULARY)) as port:
        clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
    assert got == {number: want[number % 3] for number in range(8)}
    assert len(set(want)) == 3


def test_a_port_that_is_taken_or_impossible_gets_one_line() -> None:
    app = create_app(Markov(V), VOCABULARY)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CarouselError, match=f"port {port}: Address already in use; try"):
            bind(app, port=port)
    with pytest.raises(
        CarouselError, match="port must be a whole number, at least 0, at most 65535"
    ):
        bind(app, port=70000)
    with pytest.raises(CarouselError, match=r"cannot listen at nosuch\.invalid"):
        bind(app, "nosuch.invalid", 0)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let the programs a test starts heed SIGINT, also where these tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("program", [["-m", "carousel", "serve"], [str(ROOT / "app" / "app.py")]])
def test_the_commands_serve_until_interrupted(
    program: list[str], tmp_path: Path, interruptible: None
) -> None:
    run = save_run(tmp_path / "runs" / "small")
    with subprocess.Popen(
        [sys.executable, *program, str(run), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200"},
    ) as process:
        line = process.stderr.readline().decode()
        port = int(line.split("http://127.0.0.1:")[1].split("/")[0])
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            connection.request("GET", "/")
            assert b'<span class="model">small</span>' in connection.getresponse().read()
        with ask(port, prompt="é", length=20) as response:
            assert len(text(response.read())) == 20
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, b"", b"")
