"""Which texts of a model are written now, where more are begun than there are places.

A client alone may use all places. Where several ask, each has an equal share; what one does not
need is the others'. So who comes later gets a share at once: the newest texts of those who have
more than theirs are paused meanwhile. Where as many texts are begun as may be, those paused
included, the newest request of the client with the most texts is ended for it.
"""

from collections import Counter
from collections.abc import Collection, Mapping

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
    is_first = client not in texts.values()
    return total <= BEGUN * places and (is_first or number <= rest_of_share(texts, client, places))


def rest_of_share(texts: Mapping[int, str], client: str, places: int) -> int:
    """Return how many more texts a client may begin by its share, which is 1 at least.

    Args:
        texts: The client of each text that has begun.
        client: Who asks.
        places: Texts that are written at the same time.
    """
    counts = Counter(texts.values())
    return max(0, _equal_share({*counts, client}, places) - counts[client])


def texts_to_end(
    texts: Mapping[int, str],
    requests: Mapping[int, int],
    client: str,
    number: int,
    places: int,
) -> set[int]:
    """Return the texts to end so that a client can begin its share; empty if it must wait.

    Only a client with more than its share loses a request: the one with the most texts its newest,
    and of several with as many the one whose newest request began last.

    Args:
        texts: The client of each text that has begun, in the order in which they were begun.
        requests: The request of each; a request ends with all its texts.
        client: Who asks.
        number: Texts that it asks for.
        places: Texts that are written at the same time.
    """
    if number > rest_of_share(texts, client, places):
        return set()
    share = _equal_share({*texts.values(), client}, places)
    left = dict(texts)
    while len(left) + number > BEGUN * places:
        counts = Counter(left.values())
        newest = {owner: key for key, owner in left.items()}
        victim = max(newest, key=lambda owner: (counts[owner], newest[owner]))
        if counts[victim] <= share:
            return set()
        request = requests[newest[victim]]
        left = {key: owner for key, owner in left.items() if requests[key] != request}
    return set(texts.keys() - left.keys())


def _equal_share(clients: Collection[str], places: int) -> int:
    return max(1, places // len(clients))
