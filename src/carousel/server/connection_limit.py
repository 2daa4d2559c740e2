"""Choose the connection to close when there are too many, or they hold too much memory.

One client must not keep the others out: it loses its own connection, not somebody else's.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Protocol, TypeVar


class Connected(Protocol):
    """A connection, as far as this is decided by it."""

    @property
    def client(self) -> str:
        """The client that opened it, by `client_of`."""

    @property
    def is_idle(self) -> bool:
        """Whether no request of it is being answered."""

    @property
    def since(self) -> float:
        """When it became idle, or its request began, in seconds."""


C = TypeVar("C", bound=Connected)


def client_of(address: str) -> str:
    """Return what tells clients apart: an address of IPv4, or the first half of one of IPv6.

    Whoever has one address of IPv6 has 2**64 of them.
    """
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address) or ip.is_loopback:
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return f"{IPv6Address(int(ip) >> 64 << 64)}/64"


def to_close(
    connections: Sequence[C], weight: Callable[[C], int] = lambda connection: 1
) -> C | None:
    """Return the connection to close, or None if there is none.

    Of the client whose connections have the largest weight, it is the one that has been idle for
    longest. Clients with no idle connection are passed over; where nobody has one, the client with
    the largest weight loses its newest.
    """
    weights: Counter[str] = Counter()
    for connection in connections:
        weights[connection.client] += weight(connection)
    for client, total in weights.most_common():
        idle = [c for c in connections if c.client == client and c.is_idle and weight(c)]
        if total and idle:
            return min(idle, key=lambda connection: connection.since)
    busy = [c for c in connections if weight(c)]
    return max(busy, key=lambda c: (weights[c.client], c.since), default=None)
