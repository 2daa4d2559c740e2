"""Which texts of a model are written now, where more are begun than there are places.

A client alone may use all places. Where several ask, each has an equal share; what one does not
need is the others'. So who comes later gets a share at once: the newest texts of those who have
more than theirs are paused meanwhile.
"""

from collections import Counter
from collections.abc import Mapping

BEGUN = 2  # times as many texts may be begun as there are places; those beyond them are paused


def shares(wanted: Mapping[str, int], places: int) -> dict[str, int]:
    """Return how many places each client gets: equal shares, none more than it wants.

    Args:
        wanted: Texts of each client.
        places: Texts that are written at the same time.
    """
    found: dict[str, int] = {}
    left = places
    for rank, (client, number) in enumerate(sorted(wanted.items(), key=lambda item: item[1])):
        found[client] = min(number, -(-left // (len(wanted) - rank)))
        left -= found[client]
    return found


def running(texts: Mapping[int, str], places: int) -> set[int]:
    """Return the texts that are written now: the oldest of each client.

    Args:
        texts: The client of each, in the order in which they were begun.
        places: Texts that are written at the same time.
    """
    left = shares(Counter(texts.values()), places)
    found = set()
    for key, client in texts.items():
        if left[client]:
            left[client] -= 1
            found.add(key)
    return found


def may_begin(texts: Mapping[int, str], client: str, number: int, places: int) -> bool:
    """Tell whether a client may have so many more texts begun.

    It may while there are places. Where there are none, it may up to its share, and a client that
    has no text may begin one request whatever its share is.
    """
    total = len(texts) + number
    if total <= places:
        return True
    counts = Counter(texts.values())
    own = counts[client]
    share = places // len({*counts, client})
    return total <= BEGUN * places and (own == 0 or own + number <= share)
