"""`carousel serve` whose worker, or which itself, is killed, stopped, told to go."""

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from carousel.data.vocabulary import Vocabulary
from carousel.models.config import ModelConfig
from generation.saved_model import VOCABULARY, save_run
from server.client import Command, Stream, command, get, is_alive, is_ready, post, text
from server.running import until

ROOT = Path(__file__).parents[2]
APP = (str(ROOT / "app" / "app.py"),)
# Of 17 million weights, which no processor reads much more often than 200 times a second: the
# long text takes it at least 20 s.
SLOW = ModelConfig(embedding_size=8, hidden_size=1024, num_layers=2)
LONG = {"max_tokens": 4000, "n": 8}

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc, which Linux has")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("runs") / "slow", VOCABULARY, SLOW)


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Command]:
    with command(str(run)) as running:
        yield running


@pytest.mark.serial
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_dies_or_hangs_is_replaced_and_its_texts_end_with_an_error(
    server: Command, by: signal.Signals
) -> None:
    port = server.port
    assert until(lambda: is_ready(port), seconds=30)
    (worker,) = server.workers()
    whole: list = []
    client = threading.Thread(target=lambda: whole.append(post(port, **LONG)), daemon=True)
    client.start()
    with Stream(port, **LONG) as stream:
        assert until(lambda: len(stream.received) > 1000)
        before = time.monotonic()
        os.kill(worker, by)
        assert until(lambda: not is_ready(port), seconds=5)  # the figure
        assert get(port, "/health/live")[0] == 200
        assert until(lambda: stream.is_over, seconds=6 - (time.monotonic() - before))
        client.join(timeout=1)
    assert b"data: [DONE]\n\n" in stream.received[-40:]
    assert stream.events[-1]["error"]["type"] == "server_error"
    assert "a new worker is on its way" in stream.events[-1]["error"]["message"]
    assert (whole[0].status, "the text ends here" in whole[0].error) == (503, True)
    assert until(lambda: is_ready(port), seconds=30)
    assert not is_alive(worker)
    assert len(server.workers()) == 1
    assert post(port, max_tokens=5).status == 200
    how = "was ended by SIGKILL" if by == signal.SIGKILL else "has not answered for 4 seconds"
    assert any(how in line for line in server.lines)


@pytest.mark.parametrize("characters", ["\n abcxyz", "\n abcdeé“"])
def test_a_folder_that_was_replaced_is_not_served_in_the_place_of_the_first(
    tmp_path: Path, characters: str
) -> None:
    """By a model of another vocabulary, or of other weights alone; until the first is back."""
    folder, aside = tmp_path / "it", tmp_path / "aside"
    with command(str(save_run(folder))) as server:
        port = server.port
        models, equal = get(port, "/v1/models"), {"prompt": "d", "seed": 1, "max_tokens": 20}
        whole = post(port, **equal).text
        folder.rename(aside)
        save_run(folder, Vocabulary.from_text(characters), seed=1)
        (worker,) = server.workers()
        os.kill(worker, signal.SIGKILL)
        assert until(lambda: b"another model" in get(port, "/health/ready")[1], seconds=30)
        answer = post(port, **equal)
        assert (answer.status, answer.value["error"]["code"]) == (503, "unavailable")
        assert "start the server again" in answer.error
        assert get(port, "/v1/models") == models
        shutil.rmtree(folder)
        shutil.copytree(aside, folder)  # its files are younger than the first
        assert until(lambda: is_ready(port), seconds=40)
        assert post(port, **equal).text == whole
        assert get(port, "/v1/models") == models
        assert sum("another model" in line and " /" not in line for line in server.lines) == 1


@pytest.mark.serial
def test_sigterm_lets_texts_end_for_a_while_and_then_ends_them(server: Command) -> None:
    port = server.port
    assert until(lambda: is_ready(port), seconds=30)
    workers = server.workers()
    # With candidates, so that no processor is done with it in the seconds that texts are given.
    with Stream(port, max_tokens=100) as short, Stream(port, **LONG, candidates=16) as long:
        assert until(lambda: min(len(short.received), len(long.received)) > 200)
        server.process.send_signal(signal.SIGTERM)
        before = time.monotonic()
        assert until(lambda: not can_connect(port), seconds=1)
        code = server.process.wait(timeout=10)  # the figure
        seconds = time.monotonic() - before
        assert until(lambda: short.is_over and long.is_over, seconds=1)
    assert code == 0
    assert seconds > 7
    assert len(text(short.received)) == 100
    assert long.events[-1]["error"]["message"] == "the server is stopping: the text ends here"
    assert not any(map(is_alive, workers))
    assert server.process.stdout is not None
    assert server.process.stdout.read() == ""


def test_a_worker_does_not_outlive_a_front_that_was_killed(tmp_path: Path) -> None:
    with command(str(save_run(tmp_path / "small"))) as server:
        (worker,) = server.workers()
        assert is_alive(worker)
        server.process.kill()
        assert until(lambda: not is_alive(worker), seconds=5)


def test_the_app_serves_two_models_by_name_and_ends_at_ctrl_c_twice(
    run: Path, tmp_path: Path
) -> None:
    other = save_run(tmp_path / "other")
    with command(str(other), str(run), "--max-streams", "9", program=APP) as server:
        port, workers = server.port, server.workers()
        assert len(workers) == 2
        page = get(port, "/")[1]
        assert b"other" in page
        assert b"slow" in page
        assert post(port, model="slow", max_tokens=3).value["model"] == "slow"
        assert post(port, max_tokens=3).value["model"] == "other"
        assert "/torch/lib/" not in Path(f"/proc/{server.process.pid}/maps").read_text()
        with Stream(port, model="slow", **LONG) as stream:
            assert until(lambda: len(stream.received) > 200)
            server.process.send_signal(signal.SIGINT)
            assert until(lambda: not can_connect(port), seconds=1)
            assert not stream.is_over
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(timeout=4) == 0
            assert until(lambda: stream.is_over, seconds=1)
        assert "stopping" in stream.events[-1]["error"]["message"]
        assert not any(map(is_alive, workers))
        assert "this machine alone can reach it" in server.lines[0]
        assert all(" /" in line for line in server.lines[1:])  # one for each request


def can_connect(port: int) -> bool:
    """Tell whether anybody listens."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
