"""How much a client may have written: characters a minute, to be used at once or bit by bit."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

MINUTE = 60.0  # seconds
MAX_CLIENTS = 10_000  # remembered; of more, those that have asked for nothing for longest go


class _Account(NamedTuple):
    characters: float  # left, at that time; below 0, they are owed
    time: float  # seconds


class Budget:
    """What each client has left; a minute fills an empty one.

    A request takes what it may come to before it begins, and gives back what it did not use. So
    requests that run at the same time cannot exceed the budget together.
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
        """Take so many characters and return 0; or take none and return the seconds to wait.

        Args:
            client: Who asks.
            characters: To draw; more than a full budget never come: ∞ seconds.
            read: That reading comes to. A full budget suffices, but all of it is owed: what
                exceeds the budget is earned before there is anything to take again.
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

    def give_back(self, client: str, characters: int) -> None:
        """Return what was taken and not used; a negative number is used beside what was taken."""
        with self._lock:
            if client in self._accounts or characters < 0:  # one that is not there is full
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
