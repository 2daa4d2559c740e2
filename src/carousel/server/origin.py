"""Origins of web pages, `scheme://host[:port]`, in the spelling in which browsers send them.

The command line checks them before it loads the web framework: this module is pure.
"""

import ipaddress
import re
from collections.abc import Iterable

from carousel.errors import ConfigError

ANY = "*"  # every origin
MAX_LENGTH = 400  # characters; the name of a host has at most 253
EXAMPLE = "http://localhost:3000"

_DEFAULT_PORTS = {"http": 80, "https": 443}
_PARTS = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?"
    r"(?P<host>\[[0-9a-f:.]+\]|[^\s/:?#@\[\]\\]+)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:[/?#].*)?",
    re.IGNORECASE | re.DOTALL,
)
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")


def check_origins(origins: Iterable[str]) -> frozenset[str]:
    """Return the origins as a set, after checking each.

    Raises:
        ConfigError: If one is not an origin as browsers send it, or `*` is not alone; the message
            shows the origin and what would work.
    """
    found = frozenset(origins)
    for origin in sorted(found):
        if origin != ANY and (reason := _objection(origin)):
            raise ConfigError(f"{origin!r} is not an origin: {reason}")
    if ANY in found and len(found) > 1:
        raise ConfigError(f"'{ANY}' allows every origin: leave out the others, or leave it out")
    return found


def is_origin(text: str) -> bool:
    """Return whether this is an origin that could be allowed by name."""
    return _objection(text) is None


def _objection(text: str) -> str | None:
    """Return what is wrong and what would work; None if it is an origin."""
    if text == "null" or text.lower().startswith("file:"):
        return (
            "browsers send null for files and for sandboxed frames of any site, so it names no "
            "page; serve the page over HTTP and allow its origin"
        )
    if ANY in text:
        return f"patterns are not supported; list each origin, or '{ANY}' alone for all"
    canonical = _canonical(text)
    if canonical is None:
        return f"it must be scheme://host or scheme://host:port, such as {EXAMPLE}"
    return None if canonical == text else f"browsers send {canonical}; use that"


def _canonical(text: str) -> str | None:
    """Return the origin of a URL, with http where it has no scheme; None if it has none."""
    if len(text) > MAX_LENGTH:  # to encode a long name in ASCII takes quadratic time
        return None
    parts = _PARTS.fullmatch(text)
    host = None if parts is None else _host(parts["host"].lower())
    if parts is None or host is None:
        return None
    scheme = (parts["scheme"] or "http").lower()
    port = None if parts["port"] is None else int(parts["port"])
    if port is not None and not 0 < port < 65536:
        return None
    is_default = port is None or port == _DEFAULT_PORTS.get(scheme)
    return f"{scheme}://{host}" + ("" if is_default else f":{port}")


def _host(host: str) -> str | None:
    if host.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
        except ValueError:
            return None
    try:
        ascii_host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        return None
    if not _HOST.fullmatch(ascii_host):
        return None
    if ascii_host.rstrip(".").rpartition(".")[2].isdecimal():  # then it is an address of IPv4
        try:
            return str(ipaddress.IPv4Address(ascii_host))
        except ValueError:
            return None
    return ascii_host
