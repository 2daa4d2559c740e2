"""The app on a port: waitress, a server of threads, with the deadlines that it lacks.

waitress drops who is silent; who sends or reads a byte now and then it keeps for ever. Here a
connection is closed
    - when a request is not complete REQUEST seconds after its first byte (a new connection's: after
      it was opened), however the bytes come; empty lines before it are a part of it;
    - when it was idle for IDLE seconds;
    - when what it is to read was not all read at any moment of READ seconds: so much is buffered
      for it at most that a text is written to its end without waiting for who reads slowly;
    - when there are more than MAX_CONNECTIONS, or their requests hold more than MAX_HELD together:
      the client with most of them loses the one that has been idle for longest.
"""

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import waitress  # type: ignore[import-untyped]
from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel  # type: ignore[import-untyped]

from carousel.errors import CarouselError
from carousel.limits import check_integer
from carousel.server.app import HOST
from carousel.server.connection_limit import client_of, to_close
from carousel.server.fair_share import BEGUN
from carousel.server.http_error import HttpError
from carousel.server.http_parser import MAX_HEADER, MAX_RECEIVED, RequestParser
from carousel.server.supervised_worker import MAX_STREAMS
from carousel.server.threads import ThreadDispatcher

PORT = 5000
SPARE_THREADS = 16  # for everything but the texts, each of which has a thread of its own
MAX_CONNECTIONS = 1000  # waitress's own 100 is reached by idle ones alone
REQUEST, IDLE, READ = 8.0, 30.0, 20.0  # seconds: see above
LOOK = 0.5  # seconds between two looks at all connections
_MARGIN = 64  # connections and other descriptors at which waitress would stop to accept
ACCEPTED = 32  # connections at most that are accepted at once; fewer than _MARGIN
DRAIN = 8.0  # seconds that texts have to end when the server is to stop
FLUSH = 1.0  # seconds for their last bytes to leave

MAX_HELD = 16 << 20  # bytes of all requests that are not answered yet

_BUFFER = 1 << 20  # bytes that wait for one connection before its text waits too


class Server:
    """An app on a port.

    Attributes:
        port: Its number.
    """

    def __init__(self, app: Flask, host: str, port: int, threads: int) -> None:
        """Bind the port; see `bind`."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, port), family=family)
        except OSError as error:
            reason = str(error.strerror).partition(" (while ")[0]  # there follows the address again
            raise CarouselError(
                f"cannot listen at {host}, port {port}: {reason}; try another --port"
            ) from None
        self._threads = ThreadDispatcher(threads)
        self._server: Any = waitress.create_server(
            app,
            sockets=[listener],
            _dispatcher=self._threads,
            ident=None,
            connection_limit=_connections() + _MARGIN,
            asyncore_use_poll=True,  # select cannot count beyond 1024 descriptors
            channel_request_lookahead=1,  # reads on while it answers, and so sees a client go
            max_request_body_size=MAX_RECEIVED,
            max_request_header_size=MAX_HEADER,
            outbuf_high_watermark=_BUFFER,
            log_socket_errors=False,  # whoever connects could fill the log without a request
        )
        self._accept_one = self._server.handle_accept
        self._server.handle_accept = self._accept
        self._server.channel_class = _Connection
        self._server.cors = app.extensions.get("cors")
        self._server.received = 0  # bytes, since all that is held was counted
        self._held = 0  # bytes of requests, when they were counted
        self._limit = _connections()
        self._stops = 0  # -1: it has ended
        self._trigger = threading.RLock()  # a handler may come while it is held
        self._looked = 0.0
        self.port = int(self._server.effective_port)

    def run(self, end_texts: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop` is called, then let what is under way end, but not for ever.

        Args:
            end_texts: Called after DRAIN seconds, or a second `stop`: is to end all texts.
        """
        while not self._stops:
            self._turn(1.0)
        wasyncore.dispatcher.close(self._server)  # no new connections
        self._turn_until(DRAIN, lambda: not self._connections or self._stops > 1)
        end_texts()
        self._turn_until(FLUSH, lambda: not self._connections)
        for connection in self._connections:
            connection.handle_close()
        have_ended = self._threads.shutdown(timeout=0.5)
        with self._trigger:
            self._stops = -1
            # A thread that is still at work would write to whatever has the descriptor next.
            if have_ended:
                self._server.trigger.close()

    def stop(self) -> None:
        """Make `run` return; a second call does not wait for texts. Thread- and signal-safe."""
        with self._trigger:
            if self._stops >= 0:
                self._stops += 1
                self._server.pull_trigger()

    @property
    def _connections(self) -> "list[_Connection]":
        return list(self._server.active_channels.values())

    def _accept(self) -> None:
        """Accept those who wait: waitress looks at all connections for each, which takes longer."""
        for _ in range(ACCEPTED):
            before = len(self._server.active_channels)
            self._accept_one()
            if len(self._server.active_channels) == before:
                return

    def _turn(self, seconds: float) -> None:
        """Send and receive, waiting so long at most, and look at all connections if it is time."""
        wasyncore.loop(timeout=seconds, use_poll=True, map=self._server._map, count=1)
        self._make_way()
        now = time.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            for connection in self._connections:
                if connection.is_overdue(now):
                    connection.handle_close()

    def _make_way(self) -> None:
        """Close connections until there are not too many, and they do not hold too much."""
        while len(self._server.active_channels) > self._limit:
            self._close(to_close(self._connections))
        if self._held + self._server.received <= MAX_HELD:
            return
        while (held := sum(each.held for each in self._connections)) > MAX_HELD:
            self._close(to_close(self._connections, lambda connection: connection.held))
        self._held, self._server.received = held, 0

    def _close(self, connection: "_Connection | None") -> None:
        if connection is not None:
            self._threads.drop(connection)
            connection.handle_close()

    def _turn_until(self, seconds: float, is_done: Callable[[], bool]) -> None:
        """Serve for at most this long, but close connections that are idle."""
        end = time.monotonic() + seconds
        while not is_done() and time.monotonic() < end:
            self._turn(0.05)
            for connection in self._connections:
                if connection.is_idle:
                    connection.handle_close()


def bind(app: Flask, host: str = HOST, port: int = PORT, *, streams: int = MAX_STREAMS) -> Server:
    """Bind the port and return the server.

    Args:
        app: What `create_app` returns.
        host: Address of this machine to listen at; 127.0.0.1 is reached from this machine only.
        port: TCP port; 0 takes a free one.
        streams: Texts that are written at the same time, of all models together.

    Raises:
        ConfigError: If there is no such port.
        CarouselError: If the address cannot be had.
    """
    check_integer("port", port, at_least=0, at_most=65535)
    return Server(app, host, port, BEGUN * streams + SPARE_THREADS)


def _connections() -> int:
    """Return how many connections may be open: as many as idle browsers need, and descriptors."""
    try:
        import resource
    except ImportError:  # Windows
        return MAX_CONNECTIONS
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(MAX_CONNECTIONS, max(64, allowed - 128))


class _Connection(HTTPChannel):  # type: ignore[misc]
    """A connection that knows since when it is waited for."""

    error_task_class = HttpError
    parser_class = RequestParser

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._is_new = True  # no byte has come yet
        self._began = self._kept_up = time.monotonic()
        super().__init__(*args, **kwargs)
        self.client = client_of(str(self.addr[0]))

    @property
    def since(self) -> float:
        """When it became idle, or its request began."""
        return self._began

    @property
    def held(self) -> int:
        """Bytes of its requests that are kept."""
        with self.requests_lock:
            requests = [*self.requests, self.request]
        return sum(request.held for request in requests if request is not None)

    @property
    def is_idle(self) -> bool:
        """Whether there is neither a request to answer nor an answer to send."""
        return not (self.requests or self.total_outbufs_len)

    def handle_expt(self) -> None:
        """Close a connection with urgent data, which HTTP has not; it would be logged each time."""
        self.handle_close()

    def received(self, data: bytes) -> bool:
        """Note when a request begins."""
        before = self.request
        self.server.received += len(data)
        has_received: bool = super().received(data)
        if self.request is None or (self.request is not before and not self._is_new):
            self._began = time.monotonic()
        self._is_new = False
        return has_received

    def _flush_some(self, do_close: bool = True) -> bool:
        """Note when everything was sent."""
        has_sent: bool = super()._flush_some(do_close)
        if self.total_outbufs_len == 0:
            self._kept_up = time.monotonic()
        return has_sent

    def is_overdue(self, now: float) -> bool:
        """Return whether it is to be closed."""
        if self.total_outbufs_len:
            return now - self._kept_up > READ
        self._kept_up = now
        if self.requests:
            self._began = now  # what comes meanwhile is not read on
            return False
        is_awaited = self._is_new or self.request is not None
        return now - self._began > (REQUEST if is_awaited else IDLE)
