"""Assign whole units of a text (documents, books) to parts at random, by seed.

The draw is a permutation: unit u of D has the u-th raw 64-bit word of Philox, a counter-based
generator, with the seed as its key, and the units are taken in the order of their words. The raw
words are the same on every machine and in every version of numpy.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Words of the counter: a draw of its own, apart from those of the batches (purposes 0 and 1).
_COUNTER = (0, 0, 2, 0)


def draw(sizes: NDArray[np.int64], shares: Sequence[int], seed: int) -> NDArray[np.int8]:
    """Deal units out to parts whose sizes come near to their shares.

    Every part but the first is filled in turn: it takes the units in the order drawn, leaving out
    each that is larger than what the part still lacks; at last it takes the smallest one left, if
    that brings its size nearer to its share. The first part is given the rest. So a unit larger
    than a share is only held out where it must be, and a size misses its share by at most half
    of the smallest unit that was left; except that each part has one unit at least.

    Args:
        sizes: (D,) of the units, in characters; D is at least the number of parts.
        shares: What each part is to hold, in characters.
        seed: In [0, 2¹²⁸).

    Returns:
        (D,), the number of each unit's part.
    """
    parts = np.zeros(len(sizes), np.int8)
    rest = _permutation(len(sizes), seed)
    for number in range(1, len(shares)):
        still_to_come = len(shares) - number  # parts that need a unit each, the first one too
        taken = _fill(sizes[rest], shares[number], len(rest) - still_to_come)
        parts[rest[taken]] = number
        rest = np.delete(rest, taken)
    return parts


def _permutation(count: int, seed: int) -> NDArray[np.int64]:
    words = np.random.Philox(key=seed, counter=_COUNTER).random_raw(count)
    return np.argsort(words, kind="stable")


def _fill(sizes: NDArray[np.int64], share: int, limit: int) -> NDArray[np.int64]:
    """Return which of these units, between one and `limit` of them, a part takes."""
    lacking, taken = share, np.empty(0, np.int64)
    fitting = np.flatnonzero(sizes <= lacking)
    while len(fitting) and len(taken) < limit:
        sums = np.cumsum(sizes[fitting])
        count = min(int(np.searchsorted(sums, lacking, side="right")), limit - len(taken))
        taken = np.append(taken, fitting[:count])
        lacking -= int(sums[count - 1])
        after = fitting[count:]
        fitting = after[sizes[after] <= lacking]
    left = np.delete(np.arange(len(sizes)), taken)
    smallest = left[np.argmin(sizes[left])]
    if len(taken) == 0 or (len(taken) < limit and sizes[smallest] < 2 * lacking):
        taken = np.append(taken, smallest)
    return taken
