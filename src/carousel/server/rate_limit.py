"""Limit the characters that a client may have generated per minute (a token bucket)."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

MINUTE = 60.0  # seconds
MAX_CLIENTS = 10_000  # remembered; the least recently active are forgotten


class _Account(NamedTuple):
    characters: float  # left, at that time; negative if owed
    time: float  # seconds


class RateLimit:
    """A bucket of characters for each client; an empty one fills in a minute.

    A request takes its maximum before it begins and is refunded what it did not use. So concurrent
    requests cannot exceed the limit together.
    """

    def __init__(
        self,
        characters: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_clients: int = MAX_CLIENTS,
    ) -> None:
        self.characters = characters
        self._clock = clock
        self._max_clients = max_clients
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, client: str, characters: int, read: int = 0) -> float:
        """Take characters and return 0; or take none and return the seconds to wait.

        Args:
            client: Key of the client.
            characters: Number to draw; if above a full bucket, the wait is ∞.
            read: Cost of reading the prompts. It may exceed a full bucket; the excess is then owed
                and must refill before anything can be taken again.
        """
        with self._lock:
            left = self._left(client)
            needed = min(characters + read, max(characters, self.characters))
            if needed > left:
                self._keep(client, left)
                wait = (needed - left) * MINUTE / self.characters
                return wait if characters <= self.characters else math.inf
            self._keep(client, left - characters - read)
            return 0.0

    def refund(self, client: str, characters: int) -> None:
        """Return characters that were taken and not used; a negative number takes more."""
        with self._lock:
            if client in self._accounts or characters < 0:  # an unknown client has a full bucket
                self._keep(client, min(self.characters, self._left(client) + characters))

    def __len__(self) -> int:
        """Return the number of clients that are remembered."""
        return len(self._accounts)

    def _left(self, client: str) -> float:
        account = self._accounts.get(client)
        if account is None:
            return self.characters
        earned = (self._clock() - account.time) * self.characters / MINUTE
        return min(self.characters, account.characters + earned)

    def _keep(self, client: str, characters: float) -> None:
        self._accounts[client] = _Account(characters, self._clock())
        self._accounts.move_to_end(client)
        while len(self._accounts) > self._max_clients:
            self._accounts.popitem(last=False)
