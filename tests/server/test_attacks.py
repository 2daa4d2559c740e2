"""Attacks on the port: bytes that drip, crowd others out, fill the memory, or read in two ways."""

import errno
import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from typing import NamedTuple

import pytest
from flask import Flask, request
from waitress.adjustments import Adjustments

from budgets import load, say, soak
from carousel.server import http_server
from carousel.server.connection_limit import client_of, to_close
from carousel.server.http_parser import MAX_HEADER, MAX_RECEIVED, RequestParser
from carousel.server.request import MAX_BODY
from server.client import get
from server.running import memory, served, serving, until

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: Chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def make_app(seconds: float = 0) -> Flask:
    app = Flask(__name__)

    @app.route("/", methods=["GET", "POST"])
    def length() -> str:
        time.sleep(seconds)
        return str(len(request.get_data()))

    return app


def connected(port: int, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(address, 0))


class _Kept(io.BufferedReader):
    """A stream that an answer does not close: the next may have been read with it."""

    def close(self) -> None:
        """Leave it to the connection."""


class _Stream(NamedTuple):
    """What http.client takes for a socket."""

    stream: io.BufferedReader

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the stream."""
        return self.stream


def answers(port: int, data: bytes, count: int = 1) -> list[tuple[int, str]]:
    """Return status and body of each answer until the server closes, or says no more.

    So many answers are waited for, however busy the machine is; one too many would come at once.
    """
    with connected(port) as connection, _Kept(socket.SocketIO(connection, "r")) as stream:
        connection.sendall(data)
        found: list[tuple[int, str]] = []
        with suppress(TimeoutError, http.client.BadStatusLine, ConnectionError):
            while True:
                connection.settimeout(20 if len(found) < count else 1)
                response = http.client.HTTPResponse(_Stream(stream))
                response.begin()
                found.append((response.status, response.read().decode()))
                if response.will_close:
                    assert stream.read(100) == b""  # it is closed, and answers no more
                    break
    return found


# Bytes in which two programs may find different requests, or different ends of one.
AMBIGUOUS = {
    "a length of 5,000 digits": b"Content-Length: " + b"1" * 5000 + b"\r\n\r\n",
    "a length of 5,000 zeros": b"Content-Length: " + b"0" * 5000 + b"\r\n\r\n",
    "length and coding": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
    "coding and length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + GET,
    "two lengths": b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab" + GET,
    "one length twice": b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na" + GET,
    "a list of lengths": b"Content-Length: 1, 1\r\n\r\na" + GET,
    "a plus sign": b"Content-Length: +1\r\n\r\na" + GET,
    "a minus sign": b"Content-Length: -1\r\n\r\na" + GET,
    "minus zero": b"Content-Length: -0\r\n\r\n" + GET,
    "a space inside": b"Content-Length: 1 0\r\n\r\n" + b"a" * 10 + GET,
    "an underscore": b"Content-Length: 1_0\r\n\r\n" + b"a" * 10 + GET,
    "hexadecimal": b"Content-Length: 0x10\r\n\r\n" + b"a" * 16 + GET,
    "a point": b"Content-Length: 1.0\r\n\r\na" + GET,
    "no length": b"Content-Length:\r\n\r\n" + GET,
    "a digit of latin-1": b"Content-Length: \xb2\r\n\r\nab" + GET,
    "an underscore in the name": b"Content_Length: 1\r\n\r\na" + GET,
    "a coding with an underscore": b"Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
    "a space behind the name": b"Content-Length : 1\r\n\r\na" + GET,
    "a tab behind the name": b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + GET,
    "a space before the name": b" Content-Length: 1\r\n\r\na" + GET,
    "a folded length": b"Content-Length:\r\n 1\r\n\r\na" + GET,
    "a folded coding": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + GET,
    "another coding": b"Transfer-Encoding: gzip\r\n\r\n" + GET,
    "two codings": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + GET,
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + GET,
    "chunked in two lines": b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n" + GET,
    "identity": b"Transfer-Encoding: identity\r\n\r\n" + GET,
    "no coding": b"Transfer-Encoding:\r\n\r\n" + GET,
    "a vertical tab": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + GET,
    "a next line": b"Transfer-Encoding: chunked\x85\r\n\r\n0\r\n\r\n" + GET,
    "a bare LF": b"x: 1\nContent-Length: 1\r\n\r\na" + GET,
    "a bare CR": b"x: 1\rContent-Length: 1\r\n\r\na" + GET,
    "a NUL": b"x: 1\x00\r\n\r\n" + GET,
    "LF CR": b"x: 1\n\rContent-Length: 1\r\n\r\na" + GET,
    "a size with a sign": b"Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n" + GET,
    "a size with 0x": b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n" + GET,
    "a size with an underscore": b"Transfer-Encoding: chunked\r\n\r\n1_0\r\na\r\n0\r\n\r\n" + GET,
    "a size before a bare LF": b"Transfer-Encoding: chunked\r\n\r\n1\n\r\na\r\n0\r\n\r\n" + GET,
    "lines of bare LF": b"Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\n" + GET,
    "a size too small": b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n" + GET,
    "a size beyond all": b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\na\r\n" + GET,
    "an empty size": b"Transfer-Encoding: chunked\r\n\r\n\r\n0\r\n\r\n" + GET,
}  # fmt: skip


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(make_app()) as port:
        yield port


@pytest.mark.parametrize("kind", AMBIGUOUS)
def test_what_reads_in_two_ways_is_refused_and_the_connection_closed(kind: str, port: int) -> None:
    """Nothing behind it is answered: it could be what another program took for a body."""
    found = answers(port, HEAD + AMBIGUOUS[kind])
    assert [status for status, _ in found] == [400]
    error = json.loads(found[0][1])["error"]
    assert error["message"].isprintable()
    assert len(error["message"]) < 250


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / http/1.1\r\nHost: a\r\n\r\n",
        b"GET /\r\nHost: a\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /% HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://[x]/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n" * 5 + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 300 + b"Host: a\r\n\r\n",
    ],
)
def test_a_malformed_request_line_is_refused_and_the_connection_closed(
    line: bytes, port: int
) -> None:
    assert [status for status, _ in answers(port, line + GET)] == [400]


@pytest.mark.parametrize(
    ("data", "bodies"),
    [
        (GET * 2, ["0", "0"]),
        (b"\r\n" + GET + b"\r\n\r\n" + GET, ["0", "0"]),
        (HEAD + b"Content-Length: 05\r\n\r\nabcde" + GET, ["5", "0"]),
        (HEAD + b"Content-Length:\t 5 \t\r\n\r\nabcde" + GET, ["5", "0"]),
        (CHUNKED + b"5;x=y\r\nabcde\r\n0\r\n\r\n" + GET, ["5", "0"]),
        (CHUNKED + b"0A\r\n0123456789\r\n00\r\nx: y\r\n\r\n" + GET, ["10", "0"]),
        (HEAD + b"Expect: 100-continue\r\n\r\n" + GET, ["0", "0"]),
        (HEAD + b"Content-Length: %d\r\n\r\n%s" % (MAX_BODY, b"a" * MAX_BODY), [str(MAX_BODY)]),
        (b"GET / HTTP/1.0\r\n\r\n", ["0"]),
    ],
)  # fmt: skip
def test_what_reads_in_one_way_is_served(data: bytes, bodies: list[str], port: int) -> None:
    assert answers(port, data, len(bodies)) == [(200, body) for body in bodies]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_pieces_in_which_bytes_come_change_nothing(size: int, port: int) -> None:
    data = b"\r\n" + CHUNKED + b"5;x\r\nabcde\r\n2\r\nfg\r\n0\r\n\r\n"
    with connected(port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(0, len(data), size):
            connection.sendall(data[place : place + size])
            time.sleep(0.001)
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, response.read()) == (200, b"7")


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("length", [MAX_BODY + 1, 100_000, 900_000])
def test_a_body_that_is_too_long_is_refused_when_it_was_read_to_its_end(
    length: int, is_chunked: bool, port: int
) -> None:
    """So that a client that sends before it reads sees why."""
    head = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % length
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (length, b"a" * length) if is_chunked else b"a" * length
    ((status, text),) = answers(port, HEAD + head + b"\r\n\r\n" + body)
    assert status == 413
    error = json.loads(text)["error"]
    assert (error["code"], error["message"]) == ("too_large", "a request holds at most 65536 bytes")


def test_a_client_that_asks_before_it_sends_is_refused_before_it_has_sent(port: int) -> None:
    for length in (100_000, 2_000_000):
        head = b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % length
        assert [status for status, _ in answers(port, HEAD + head)] == [413]


# Deadlines.


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is seconds be tenths."""
    for name in ("REQUEST", "IDLE", "READ", "LOOK"):
        monkeypatch.setattr(http_server, name, getattr(http_server, name) / 10)


def lasts(connection: socket.socket, drops: Iterator[bytes], every: float) -> float:
    """Send a drop now and then until the server closes; return after how many seconds."""
    began = time.monotonic()
    connection.settimeout(every)
    while time.monotonic() - began < 6:
        try:
            if not connection.recv(1000):
                break
        except TimeoutError:
            pass
        except OSError:
            break
        with suppress(OSError):
            connection.sendall(next(drops))
    return time.monotonic() - began


@pytest.mark.serial
@pytest.mark.parametrize("drop", [b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"x: y\r\n", b" "])
@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\n", GET])
def test_no_drop_moves_the_deadline_of_a_head(strict: None, begin: bytes, drop: bytes) -> None:
    """Neither at the start, nor within a head, nor behind an answer."""
    with serving(make_app()) as port, connected(port) as connection:
        connection.sendall(begin)
        seconds = lasts(connection, iter(lambda: drop, None), every=0.25)
        assert seconds < 1.6  # of 0.8, a look and, at most, a drop that begins it


# Connections.


@pytest.fixture
def small_table(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", 40)
    return 40


@pytest.mark.parametrize("begin", [b"", b"\r\n", b"GET", HEAD + b"Content-Length: 9\r\n\r\n", GET])
def test_a_full_table_keeps_nobody_out(small_table: int, begin: bytes) -> None:
    """Who has most connections loses those that have been idle for longest, and only they."""
    with served(make_app()) as it, ExitStack() as stack:
        other = stack.enter_context(closing(connected(it.port, "127.0.0.2")))
        other.sendall(GET)
        assert other.recv(1000)
        crowd = []
        for _ in range(3 * small_table):
            crowd.append(stack.enter_context(closing(connected(it.port))))
            crowd[-1].sendall(begin)
        began = time.monotonic()
        assert get(it.port, "/") == (200, b"0")
        third = stack.enter_context(closing(connected(it.port, "127.0.0.3")))
        third.sendall(GET)
        assert third.recv(1000)
        assert time.monotonic() - began < 2
        assert until(lambda: len(it._connections) <= small_table)
        other.sendall(GET)  # the oldest of all, and idle for longest: but it is alone
        assert other.recv(1000)
        crowd[0].settimeout(2)
        with suppress(ConnectionError):
            while crowd[0].recv(1000):
                pass


def test_answers_that_are_under_way_are_no_room_for_others(small_table: int) -> None:
    with served(make_app(seconds=1.0)) as it, ExitStack() as stack:
        busy = [stack.enter_context(closing(connected(it.port))) for _ in range(8)]
        for connection in busy:
            connection.sendall(GET)
        assert until(lambda: sum(not each.is_idle for each in it._connections) == 8)
        for _ in range(2 * small_table):
            stack.enter_context(closing(connected(it.port)))
        for connection in busy:
            assert b"200 OK" in connection.recv(1000)


class Fake:
    def __init__(self, client: str, since: float, is_idle: bool = True, held: int = 1) -> None:
        self.client, self.since, self.is_idle, self.held = client, since, is_idle, held


def test_who_has_most_loses_the_one_that_is_idle_for_longest() -> None:
    a, b, c = (Fake("a", since) for since in (3, 1, 2))
    other = Fake("b", 0)
    assert to_close([a, other, b, c]) is b
    b.is_idle = False
    assert to_close([a, other, b, c]) is c
    a.is_idle = c.is_idle = False
    assert to_close([a, other, b, c]) is other  # nobody else has an idle one
    other.is_idle = False
    assert to_close([a, other, b, c]) is a  # the newest of those who have most
    assert to_close([]) is None


def test_who_holds_most_loses_a_connection_that_holds_something() -> None:
    big, small = Fake("a", 5, held=100), Fake("a", 1, held=0)
    many = [Fake("b", 0, held=10) for _ in range(5)]
    assert to_close([*many, small, big], lambda connection: connection.held) is big


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("", ""),
    ],
)
def test_addresses_of_one_half_are_one_client(address: str, client: str) -> None:
    assert client_of(address) == client


# Memory.


@pytest.mark.parametrize("is_chunked", [False, True])
def test_nothing_is_kept_of_a_body_that_is_too_long(is_chunked: bool) -> None:
    limits = {"max_request_header_size": MAX_HEADER, "max_request_body_size": MAX_RECEIVED}
    parser = RequestParser(Adjustments(**limits))
    head = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: 519001"
    parser.received(HEAD + head + b"\r\n\r\n")
    parser.received(b"7eb59\r\n" if is_chunked else b"")
    for _ in range(100):
        parser.received(b"a" * 5000)
        assert parser.held < MAX_BODY + 10_000
    assert parser.held < 1000
    parser.received(b"a" * 19_001 + b"\r\n0\r\n\r\n")
    assert parser.completed
    assert parser.error.code == 413


@pytest.mark.serial
@pytest.mark.parametrize("is_chunked", [False, True])
def test_half_sent_bodies_are_bounded_together(
    monkeypatch: pytest.MonkeyPatch, is_chunked: bool
) -> None:
    monkeypatch.setattr(http_server, "MAX_HELD", 2_000_000)
    with served(make_app()) as it, ExitStack() as stack:
        polite = stack.enter_context(closing(connected(it.port, "127.0.0.2")))
        polite.sendall(HEAD + b"Content-Length: 60000\r\n\r\n" + b"a" * 50_000)
        head = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: 65000"
        body = b"fde8\r\n" + b"a" * 64_000 if is_chunked else b"a" * 64_000
        for _ in range(60):
            connection = stack.enter_context(closing(connected(it.port)))
            with suppress(ConnectionError):
                connection.sendall(HEAD + head + b"\r\n\r\n" + body)
        assert until(lambda: it._server.received < 65_000 or len(it._connections) > 20)
        time.sleep(0.3)
        assert sum(each.held for each in it._connections) <= 2_100_000
        assert len(it._connections) >= 20  # no more than needed are closed
        polite.sendall(b"a" * 10_000)
        assert b"200 OK" in polite.recv(1000)
        assert get(it.port, "/")[0] == 200


@pytest.mark.serial
def test_nine_hundred_half_sent_bodies_take_little_memory() -> None:
    number = load(300, 900)
    with served(make_app()) as it, ExitStack() as stack:
        before = memory()
        for _ in range(number):
            connection = stack.enter_context(closing(connected(it.port)))
            with suppress(OSError):
                connection.settimeout(0.5)
                connection.sendall(HEAD + b"Content-Length: 519001\r\n\r\n" + b"a" * 200_000)
        time.sleep(0.5)
        grown = memory() - before
        say(f"{number} half-sent bodies: {grown / 1e6:.0f} MB")
        assert grown < http_server.MAX_HELD + 30_000 * number
        assert get(it.port, "/")[0] == 200


def test_urgent_bytes_close_the_connection_and_are_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with served(make_app()) as it:
        for begin in (b"", b"GET / HTTP", GET):
            with connected(it.port) as connection, suppress(ConnectionError):
                connection.sendall(begin)
                for _ in range(20):
                    connection.send(b"G", socket.MSG_OOB)
                    time.sleep(0.01)
                while connection.recv(1000):
                    pass
        assert get(it.port, "/") == (200, b"0")
    assert [record.message for record in caplog.records] == []


def test_a_connection_that_breaks_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With errors too that waitress knows no name for, such as a router that says: no way."""
    with served(make_app()) as it, connected(it.port) as connection:
        assert until(lambda: len(it._connections) == 1)
        (channel,) = it._connections

        def broken(size: int) -> bytes:
            raise OSError(errno.EHOSTUNREACH, "No route to host")

        channel.recv = broken
        connection.sendall(GET)
        assert until(lambda: not it._connections)
        assert get(it.port, "/") == (200, b"0")
    assert [record.message for record in caplog.records] == []


def test_those_who_wait_to_be_accepted_are_accepted_together() -> None:
    """Each look at all connections takes a millisecond: one for each of a crowd takes seconds."""
    it = http_server.bind(make_app(), port=0)
    with ExitStack() as stack:
        crowd = [stack.enter_context(closing(connected(it.port))) for _ in range(100)]
        turns = 0
        while len(it._connections) < len(crowd):
            it._turn(0.1)
            turns += 1
            assert turns <= 8  # of 32 each, and some in which other things happen
        it.stop()
        it.stop()
        it.run()


# All of it at once, beside somebody who asks.


@soak
@pytest.mark.serial
def test_others_are_answered_during_all_attacks() -> None:
    kinds = [
        *(b"\r\n", b"G", b"GET / HTTP/1.1\r\n", GET + b"\r\n", b"x:" + b" " * 8000),
        HEAD + b"Content-Length: 65000\r\n\r\n" + b"a" * 60_000,
        HEAD + b"Content-Length: 900000\r\n\r\n" + b"a" * 60_000,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 1000,
        *(HEAD + tail for tail in AMBIGUOUS.values()),
    ]
    is_over = threading.Event()

    def attack(kind: int) -> None:
        while not is_over.is_set():
            with ExitStack() as stack:
                links = []
                for k in range(load(20, 130)):
                    with suppress(OSError):
                        links.append(stack.enter_context(closing(connected(it.port, "127.0.0.2"))))
                        links[-1].settimeout(0.1)
                        links[-1].sendall(kinds[(kind + 8 * k) % len(kinds)])
                for _ in range(10):
                    is_over.wait(0.3)
                    for link in links:
                        with suppress(OSError):
                            link.sendall(b"\r\n")

    with served(make_app()) as it:
        before = memory()
        attackers = [threading.Thread(target=attack, args=(kind,)) for kind in range(8)]
        for attacker in attackers:
            attacker.start()
        took = []
        end = time.monotonic() + load(4, 60)
        while time.monotonic() < end:
            began = time.monotonic()
            assert get(it.port, "/") == (200, b"0")
            took.append(time.monotonic() - began)
            time.sleep(0.02)
        is_over.set()
        for attacker in attackers:
            attacker.join()
        took.sort()
        say(f"beside attacks: {len(took)} requests, p99 {took[len(took) * 99 // 100]:.3f} s")
        assert took[len(took) * 99 // 100] < 1
        assert memory() - before < 120_000_000
