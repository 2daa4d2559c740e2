"""Share the slots of a model fairly among clients.

A single client may use all slots. Several clients have equal shares; what one does not need goes to
the others. A new client gets its share at once: the newest texts of clients above their share are
paused. If the limit of texts, paused ones included, is reached, the newest request of the client
with the most texts is ended.
"""

from collections import Counter
from collections.abc import Collection, Mapping

BEGUN = 2  # texts per slot, paused ones included


def shares(wanted: Mapping[str, int], slots: int) -> dict[str, int]:
    """Return how many slots each client gets: equal shares, none more than it wants.

    Args:
        wanted: Texts of each client.
        slots: Texts generated at the same time.
    """
    found: dict[str, int] = {}
    left = slots
    for rank, (client, number) in enumerate(sorted(wanted.items(), key=lambda item: item[1])):
        found[client] = min(number, -(-left // (len(wanted) - rank)))
        left -= found[client]
    return found


def running(texts: Mapping[int, str], slots: int) -> set[int]:
    """Return the texts that run now: the oldest ones of each client.

    Args:
        texts: The client of each text, in the order of their begin.
        slots: Texts generated at the same time.
    """
    left = shares(Counter(texts.values()), slots)
    found = set()
    for key, client in texts.items():
        if left[client]:
            left[client] -= 1
            found.add(key)
    return found


def may_begin(texts: Mapping[int, str], client: str, number: int, slots: int) -> bool:
    """Return whether a client may begin this many more texts.

    It may while there are free slots; else up to its share. A client without a text may begin one
    request whatever its share is.
    """
    total = len(texts) + number
    if total <= slots:
        return True
    is_first = client not in texts.values()
    return total <= BEGUN * slots and (is_first or number <= rest_of_share(texts, client, slots))


def rest_of_share(texts: Mapping[int, str], client: str, slots: int) -> int:
    """Return how many more texts a client may begin by its share, which is 1 at least.

    Args:
        texts: The client of each text that has begun.
        client: Who asks.
        slots: Texts generated at the same time.
    """
    counts = Counter(texts.values())
    return max(0, _equal_share({*counts, client}, slots) - counts[client])


def texts_to_end(
    texts: Mapping[int, str],
    requests: Mapping[int, int],
    client: str,
    number: int,
    slots: int,
) -> set[int]:
    """Return the texts to end so that a client can begin its share; empty if it must wait.

    Only a client with more than its share loses a request: the one with the most texts its newest,
    and of several with as many the one whose newest request began last.

    Args:
        texts: The client of each text that has begun, in the order in which they were begun.
        requests: The request of each; a request ends with all its texts.
        client: Who asks.
        number: Texts that it asks for.
        slots: Texts generated at the same time.
    """
    if number > rest_of_share(texts, client, slots):
        return set()
    share = _equal_share({*texts.values(), client}, slots)
    left = dict(texts)
    while len(left) + number > BEGUN * slots:
        counts = Counter(left.values())
        newest = {owner: key for key, owner in left.items()}
        victim = max(newest, key=lambda owner: (counts[owner], newest[owner]))
        if counts[victim] <= share:
            return set()
        request = requests[newest[victim]]
        left = {key: owner for key, owner in left.items() if requests[key] != request}
    return set(texts.keys() - left.keys())


def _equal_share(clients: Collection[str], slots: int) -> int:
    return max(1, slots // len(clients))
