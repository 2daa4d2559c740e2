"""The port: deadlines for who is slow, errors in one form, an end that lets texts end."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from flask import Flask, Response

from carousel.errors import CarouselError
from carousel.server import http_server
from carousel.server.http_server import bind
from server.client import get
from server.running import at_rest, descriptors, served, serving, threads, until

closed: list[str] = []  # streams that were closed, by name
taken: dict[str, int] = {}  # pieces that were taken of each


def make_app() -> Flask:
    """Return an app that answers at once, late, for long, and with much."""
    app = Flask(__name__)

    @app.route("/", methods=["GET", "POST"])
    def hello() -> str:
        return "hello"

    @app.get("/late")
    def late() -> str:
        time.sleep(1.5)
        return "late"

    def stream(name: str, chunks: int, size: int, seconds: float) -> Iterator[bytes]:
        try:
            for chunk in range(chunks):
                taken[name] = chunk
                yield bytes(size)
                time.sleep(seconds)
        finally:
            closed.append(name)

    @app.get("/much")
    def much() -> Response:
        return Response(stream("much", 2000, 10_000, 0))

    @app.get("/drops/<int:chunks>")
    def drops(chunks: int) -> Response:
        return Response(stream("drops", chunks, 10, 0.05))

    return app


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is seconds be tenths."""
    for name in ("REQUEST", "IDLE", "READ", "LOOK"):
        monkeypatch.setattr(http_server, name, getattr(http_server, name) / 10)
    closed.clear()


def lasts(connection: socket.socket, drip: Callable[[], bytes], every: float = 0.1) -> float:
    """Send a little now and then until the other side closes; return after how many seconds."""
    began = time.monotonic()
    connection.settimeout(every)
    while time.monotonic() - began < 10:
        try:
            if not connection.recv(1000):
                break
        except TimeoutError:
            pass
        except OSError:
            break
        try:
            connection.sendall(drip())
        except OSError:
            break
    return time.monotonic() - began


def receive(connection: socket.socket) -> bytes:
    """Return the answer "hello" with its headers."""
    received = b""
    while not received.endswith(b"hello") and (part := connection.recv(1000)):
        received += part
    return received


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def test_the_deadlines_keep_the_promises() -> None:
    assert http_server.REQUEST + 2 * http_server.LOOK < 10
    assert http_server.DRAIN + http_server.FLUSH + 0.5 < 10


SLOW = {
    "silence": (b"", b""),
    "a line": (b"", b"G"),
    "headers": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"x: y\r\n"),
    "no body": (POST, b""),
    "a body": (POST, b"a"),
    "a second body": (GET + POST, b"a"),
    "chunks": (POST.replace(b"Content-Length: 1000", b"Transfer-Encoding: chunked"), b"1\r\na\r\n"),
}


@pytest.mark.serial
def test_a_request_that_does_not_become_complete_is_closed(strict: None) -> None:
    """However its bytes come; and the server answers others meanwhile."""
    seconds: dict[str, float] = {}

    def client(port: int, name: str) -> None:
        begin, drop = SLOW[name]
        with connected(port) as connection:
            connection.sendall(begin)
            seconds[name] = lasts(connection, lambda: drop)

    with serving(make_app()) as port:
        engines = [threading.Thread(target=client, args=(port, name)) for name in SLOW]
        for thread in engines:
            thread.start()
        while any(thread.is_alive() for thread in engines):
            assert get(port, "/") == (200, b"hello")
        assert set(seconds) == set(SLOW)
        assert all(0.7 < each < 1.2 for each in seconds.values()), seconds


@pytest.mark.serial
def test_what_is_complete_has_time(strict: None) -> None:
    with serving(make_app()) as port:
        assert get(port, "/late") == (200, b"late")  # longer than a request may take to come
        with connected(port) as connection:
            began = time.monotonic()
            for _ in range(4):  # kept alive, and not idle, for longer than that too
                connection.sendall(GET)
                assert receive(connection).endswith(b"hello")
                time.sleep(0.5)
            connection.settimeout(5)
            assert connection.recv(1000) == b""
            assert 4 < time.monotonic() - began < 5.5  # closed when idle


@pytest.mark.serial
def test_who_does_not_read_is_closed_and_who_reads_slowly_is_served(strict: None) -> None:
    with serving(make_app()) as port:
        with connected(port) as connection:
            connection.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
            assert until(lambda: closed == ["much"], seconds=5)
        assert get(port, "/")[0] == 200
        with connected(port) as connection:
            connection.sendall(b"GET /drops/45 HTTP/1.1\r\nHost: x\r\n\r\n")  # 2.3 s
            received = b""
            while part := connection.recv(30):
                received += part
                time.sleep(0.02)
        assert received.endswith(b"0\r\n\r\n")


def test_what_waits_for_a_slow_reader_is_bounded() -> None:
    taken.clear()
    with serving(make_app()) as port, connected(port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        before = -1
        while before < (now := taken.get("much", 0)):
            before = now
            time.sleep(0.5)
        # Of 20 MB: what waitress may keep, and what the two ends of the connection do.
        assert 0 < 10_000 * now < 10_000_000


def errors(port: int, request: bytes) -> tuple[int, dict[str, str], dict]:
    with connected(port) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, json.loads(response.read())["error"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + 20_000 * b"x: y\r\n" + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: \xff\x00\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_gets_an_error_of_the_usual_form(request_: bytes, status: int) -> None:
    with serving(make_app()) as port:
        found, headers, error = errors(port, request_)
        assert (found, headers["content-type"]) == (status, "application/json")
        assert error["type"] == "invalid_request_error"
        assert error["message"].isprintable()
        assert headers["x-content-type-options"] == "nosniff"
        assert get(port, "/") == (200, b"hello")


def test_connections_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carousel.server.threads.IDLE", 0.2)  # at rest no thread is left
    with served(make_app()) as it:
        get(it.port, "/")
        before = at_rest()
        for k in range(50):
            with connected(it.port) as connection:
                connection.sendall((GET, POST, b"G", b"")[k % 4])
                if k % 4 == 0:
                    connection.recv(1000)
        assert until(lambda: (descriptors(), threads()) == before)


def test_a_server_leaves_nothing_behind() -> None:
    before = at_rest()
    with serving(make_app()) as port:
        assert get(port, "/")[0] == 200
    assert until(lambda: (descriptors(), threads()) == before)


def test_stop_lets_answers_end_and_takes_no_more_requests() -> None:
    it = bind(make_app(), port=0)
    ended: list[float] = []
    thread = threading.Thread(target=lambda: it.run(lambda: ended.append(time.monotonic())))
    thread.start()
    with ExitStack() as stack:
        idle = stack.enter_context(connected(it.port))
        idle.sendall(GET)
        assert receive(idle).endswith(b"hello")
        busy = stack.enter_context(connected(it.port))
        busy.sendall(b"GET /drops/20 HTTP/1.1\r\nHost: x\r\n\r\n")  # 1 s
        busy.recv(100)
        it.stop()
        assert idle.recv(1000) == b""
        with pytest.raises(OSError, match="refused"):
            connected(it.port)
        received = b""
        while part := busy.recv(1000):
            received += part
        assert received.endswith(b"0\r\n\r\n")
    thread.join(timeout=3)
    assert not thread.is_alive()
    assert len(ended) == 1


@pytest.mark.parametrize("patience", [0.3, None])
def test_what_does_not_end_is_ended(
    monkeypatch: pytest.MonkeyPatch, patience: float | None
) -> None:
    """After a while, or at the second call."""
    if patience:
        monkeypatch.setattr(http_server, "DRAIN", patience)
    closed.clear()
    it = bind(make_app(), port=0)
    ended: list[float] = []
    thread = threading.Thread(target=lambda: it.run(lambda: ended.append(time.monotonic())))
    thread.start()
    with connected(it.port) as busy:
        busy.sendall(b"GET /drops/100 HTTP/1.1\r\nHost: x\r\n\r\n")  # 5 s
        busy.recv(100)
        began = time.monotonic()
        it.stop()
        if not patience:
            it.stop()
        thread.join(timeout=4)
        assert not thread.is_alive()
        assert ended[0] - began < 0.6
        assert time.monotonic() - began < 3
        assert until(lambda: closed == ["drops"], seconds=1)


def test_a_port_that_is_taken_or_impossible_gets_one_line() -> None:
    app = make_app()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CarouselError, match=f"port {port}: Address already in use; try"):
            bind(app, port=port)
    with pytest.raises(
        CarouselError, match="port must be a whole number, at least 0, at most 65,535"
    ):
        bind(app, port=70000)
    with pytest.raises(CarouselError, match=r"cannot listen at nosuch\.invalid"):
        bind(app, "nosuch.invalid", 0)


def test_a_thousand_idle_connections_do_not_keep_the_next_one_out() -> None:
    """As far as descriptors reach: 300 are far beyond waitress's own limit."""
    with serving(make_app()) as port, ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(closing(connected(port)))
        assert get(port, "/") == (200, b"hello")
