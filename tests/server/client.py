"""Clients of the API, and the command that serves it, for tests."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from server.running import until

JSON = {"Content-Type": "application/json"}


@contextmanager
def ask(port: int, **body: object) -> Iterator[http.client.HTTPResponse]:
    """Ask for a text; leaving the block hangs up, whether it has ended or not."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with closing(connection):
        connection.request("POST", "/v1/completions", json.dumps({"prompt": "ab", **body}), JSON)
        with connection.getresponse() as response:
            yield response


class Answer(NamedTuple):
    """What came of a request: its status, and the JSON value."""

    status: int
    value: Any

    @property
    def text(self) -> str:
        assert self.status == 200, self.value
        return self.value["choices"][0]["text"]

    @property
    def error(self) -> str:
        return self.value["error"]["message"]


def post(port: int, **body: object) -> Answer:
    """Have a text written."""
    with ask(port, **body) as response:
        return Answer(response.status, json.loads(response.read()))


def get(port: int, path: str) -> tuple[int, bytes]:
    """Return status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with closing(connection):
        connection.request("GET", path)
        with connection.getresponse() as response:
            return response.status, response.read()


def is_ready(port: int) -> bool:
    """Tell whether the server says that it can write."""
    return get(port, "/health/ready")[0] == 200


def events(stream: bytes) -> list[Any]:
    """Return the events of a whole stream: JSON values, without the [DONE] at the end."""
    parts = stream.decode().split("\n\n")
    assert parts[-2:] == ["data: [DONE]", ""], stream[:1000]
    return [json.loads(part.removeprefix("data: ")) for part in parts[1:-2]]


def text(stream: bytes) -> str:
    """Return the text of a whole stream that holds one."""
    return "".join(event["choices"][0]["text"] for event in events(stream))


class Stream:
    """A stream that a thread reads as it comes.

    Attributes:
        status: Of the answer.
        received: The body so far.
        is_over: Whether there will be no more.
    """

    def __init__(self, port: int, **body: object) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request(
            "POST", "/v1/completions", json.dumps({"prompt": "ab", "stream": True, **body}), JSON
        )
        assert isinstance(connection.sock, socket.socket)
        self._socket = connection.sock
        self._response = connection.getresponse()
        self.status = self._response.status
        self.received = b""
        self.is_over = False
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError, http.client.HTTPException, ValueError):
            while part := self._response.read1(10_000):
                self.received += part
        self.is_over = True

    @property
    def events(self) -> list[Any]:
        """The events of a stream that is over."""
        return events(self.received)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the reader
        self._thread.join()
        self._response.close()
        self._socket.close()


class Command:
    """`carousel serve` in a process of its own, as it talks on stderr."""

    def __init__(self, *arguments: str, program: tuple[str, ...] = ("-m", "carousel", "serve")):
        self.process = subprocess.Popen(
            [sys.executable, *program, *arguments, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "200"},
            # pytest in the background has SIGINT ignored, which its children would inherit
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    @property
    def port(self) -> int:
        """The port, once it is said."""
        return int(next(self._announced()).split("http://127.0.0.1:")[1].split("/")[0])

    def _announced(self) -> Iterator[str]:
        return (line for line in list(self.lines) if "http://127.0.0.1:" in line)

    def workers(self) -> list[int]:
        """Return the numbers of its worker processes."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        children = [(task / "children").read_text().split() for task in tasks.iterdir()]
        return [int(pid) for each in children for pid in each]

    def end(self) -> None:
        """Kill it if it still runs, and close its pipes."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@contextmanager
def command(*arguments: str, **how: tuple[str, ...]) -> Iterator[Command]:
    """Yield `carousel serve` when it serves."""
    running = Command(*arguments, **how)
    try:
        assert until(lambda: any(running._announced()), seconds=60), running.lines
        yield running
    finally:
        running.end()


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and is not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
