"""The check of each request's Host header, against DNS rebinding (hosts.py)."""

from collections.abc import Callable, Iterable
from typing import Any

from carousel.server.api_error import ApiError
from carousel.server.hosts import FOREIGN, Hosts, host_of

Environ = dict[str, Any]
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

_HEADER = "carousel.host"  # where the header is kept for `check_host`


class HostCheck:
    """A WSGI app that hides the Host header from another one, which would fail on some values."""

    def __init__(self, app: App) -> None:
        self._app = app

    def __call__(self, environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request."""
        environ[_HEADER] = environ.get("HTTP_HOST")
        environ["HTTP_HOST"] = "localhost"
        return self._app(environ, start)


def check_host(environ: Environ, hosts: Hosts, *, may_lack: bool) -> None:
    """Refuse a request that names another host than those of this server.

    Args:
        environ: Of the request, as `HostCheck` leaves it.
        hosts: That it may name.
        may_lack: A request of HTTP/1.0 need not name one.

    Raises:
        ApiError: If it names none (400), what is no host (400), or another (421).
    """
    header = environ[_HEADER]
    if header is None:
        if not (may_lack and environ.get("SERVER_PROTOCOL") == "HTTP/1.0"):
            raise ApiError("a request has a Host header", code="invalid_host")
        return
    host = host_of(header)
    if host is None:
        message = "the Host header must be one name or address, with or without a port"
        raise ApiError(message, code="invalid_host")
    if host not in hosts:
        raise ApiError(
            f"this server does not answer to the host {host}, but to {hosts.describe()}: "
            f"`carousel serve --allowed-host {host}` adds it",
            status=421,
            code=FOREIGN,
        )
