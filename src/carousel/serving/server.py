"""The app on a port: waitress, a server of threads."""

import socket
from typing import Any

import waitress  # type: ignore[import-untyped]
from flask import Flask

from carousel.errors import CarouselError
from carousel.sampling.config import check_integer

HOST, PORT = "127.0.0.1", 5000
SPARE_THREADS = 8  # for everything but the texts, each of which has a thread of its own


def bind(app: Flask, host: str = HOST, port: int = PORT) -> Any:
    """Take the port and return waitress's server; its `run` serves until it is interrupted.

    Args:
        app: What `create_app` returns.
        host: Address of this machine to listen at; 127.0.0.1 is reached from this machine only.
        port: TCP port; 0 takes a free one, which `effective_port` names.

    Raises:
        ConfigError: If there is no such port.
        CarouselError: If the address cannot be had.
    """
    check_integer("port", port, at_least=0, at_most=65535)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror).partition(" (while ")[0]  # there follows the address again
        raise CarouselError(
            f"cannot listen at {host}, port {port}: {reason}; try another --port"
        ) from None
    return waitress.create_server(
        app,
        sockets=[listener],
        threads=app.config["MAX_STREAMS"] + SPARE_THREADS,
        ident=None,
        connection_limit=1000,  # its default of 100 is reached by idle connections alone
        asyncore_use_poll=True,  # select cannot count beyond 1024 descriptors
        channel_request_lookahead=1,  # reads on while it answers, and so sees a client go
        max_request_body_size=1 << 20,  # the app's own limit is lower, and answers in JSON
    )
