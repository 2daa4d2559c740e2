"""The Host header: the names under which a server answers.

A page elsewhere can have its name resolved to 127.0.0.1 (DNS rebinding). The browser then takes
the server for a part of that page's site, and neither CORS nor the browser protects it; only the
Host header still shows the foreign name. So a server that binds to a loopback address answers to
localhost, 127.0.0.1 and [::1] alone, with any port, and to the names of `--allowed-host`.

On another address it also answers to every IP address, which no page can rebind, and to the name
it was bound to. With a token it answers there to every name, unless some are listed: a page of
another site does not have the token, and a reverse proxy passes on the name that its clients use.

The command line checks names before it loads the web framework: this module is pure.
"""

import ipaddress
import re
from collections.abc import Iterable

from carousel.errors import ConfigError

ANY = "*"  # every name
LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
FOREIGN = "host_not_allowed"  # the code of the error

_HEADER = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,254})(?::[0-9]{0,5})?")


class Hosts:
    """The hosts that requests may name.

    Args:
        host: The address that the server binds to.
        names: Further names or addresses, without a port; `*` alone: all of them.
        has_token: Requests need a token.

    Raises:
        ConfigError: If a name is none.
    """

    def __init__(self, host: str, names: Iterable[str] = (), *, has_token: bool = False) -> None:
        listed = check_names(names)
        is_local = is_loopback(host)
        self._names = LOCAL | {_canonical(host)} | {_canonical(name) for name in listed}
        self._takes_addresses = not is_local
        self.is_any = ANY in listed or (not listed and has_token and not is_local)

    def __contains__(self, host: str) -> bool:
        """Return whether requests may name this host, as `host_of` returns it."""
        return self.is_any or host in self._names or (self._takes_addresses and _is_address(host))

    def describe(self) -> str:
        """Return which hosts requests may name, as a noun phrase."""
        if self.is_any:
            return "every name"
        names = ", ".join(sorted(self._names, key=lambda name: (name not in LOCAL, name)))
        return f"every IP address, {names}" if self._takes_addresses else names


def host_of(header: str) -> str | None:
    """Return the host that a Host header names, in its one spelling; None if it is malformed."""
    match = _HEADER.fullmatch(header)
    if match is None:
        return None
    host = _canonical(match[1])
    return host if _is_name(host) or _is_address(host) else None


def check_names(names: Iterable[str]) -> frozenset[str]:
    """Return the names as a set, after checking each.

    Raises:
        ConfigError: If one is neither a name nor an address; the message shows what would work.
    """
    listed = frozenset(names)
    for name in sorted(listed - {ANY}):
        host = _canonical(name)
        if not (_is_name(host) or _is_address(host)):
            raise ConfigError(
                f"{name!r} is not the name of a host: it must be a name or an address without "
                "scheme and port, such as models.example.org"
            )
    if ANY in listed and len(listed) > 1:
        raise ConfigError(f"'{ANY}' allows every host: leave out the others, or leave it out")
    return listed


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _canonical(host: str) -> str:
    """Return a host in lower case, an address in its shortest spelling, IPv6 in brackets."""
    host = host.lower()
    is_bracketed = host.startswith("[") and host.endswith("]")
    try:
        return f"[{ipaddress.IPv6Address(host[1:-1] if is_bracketed else host).compressed}]"
    except ValueError:
        return host.removesuffix(".")


def _is_name(host: str) -> bool:
    """Return whether this is a name of DNS, rather than an address or junk."""
    labels = host.split(".")
    is_named = all(re.fullmatch(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", x) for x in labels)
    return is_named and len(host) <= 253 and not labels[-1].isdecimal()


def _is_address(host: str) -> bool:
    """Return whether this is an address; one of IPv6 is in brackets."""
    try:
        if host.startswith("[") and host.endswith("]"):
            ipaddress.IPv6Address(host[1:-1])
        else:
            ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
