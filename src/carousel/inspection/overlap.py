"""Measure verbatim overlap of texts: how much a model repeats of its training text.

An n-gram is n ids in a row. Two n-grams are taken for equal if their hashes are:
sum_j r[id_j] p^j mod 2^64, with random r and an odd random p (M. O. Rabin, "Fingerprinting by
Random Polynomials", 1981, has the idea); the longest overlap is then compared id by id.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.integer]
Hashes = NDArray[np.uint64]
CHUNK = 1 << 21  # ids hashed at a time: some 16 MiB an array


class Overlap(NamedTuple):
    """A run of ids that stands in the known text too: texts[text][start : start + length]."""

    text: int
    start: int
    length: int


def novel_share(texts: Sequence[Ids], known: Ids, n: int) -> float:
    """Return the share of the texts' n-grams (with repetition) that the known text has not.

    Raises:
        ValueError: If the texts have no n-gram.
    """
    own = _hashes_of(texts, n)
    if not len(own):
        raise ValueError(f"there is no text of {n} characters")
    return float(1 - _stands_in(own, known, n).mean())


def longest_overlap(texts: Sequence[Ids], known: Ids) -> Overlap:
    """Return the longest run of ids within one of the texts that the known text has too."""
    low, high = 0, min(max(map(len, texts), default=0), len(known)) + 1
    while high - low > 1:  # what is shared at a length is shared at all lesser ones
        n = (low + high) // 2
        low, high = (n, high) if _stands_in(_hashes_of(texts, n), known, n).any() else (low, n)
    if not low:
        return Overlap(0, 0, 0)
    place = int(np.argmax(_stands_in(_hashes_of(texts, low), known, low)))
    counts = [max(0, len(ids) - low + 1) for ids in texts]
    text = int(np.searchsorted(np.cumsum(counts), place, side="right"))
    start = place - sum(counts[:text])
    run = texts[text][start : start + low]
    assert any(np.array_equal(run, known[i : i + low]) for i in _places(run, known))
    return Overlap(text, start, low)


def _stands_in(own: Hashes, known: Ids, n: int) -> NDArray[np.bool_]:
    """Return of each hash whether an n-gram of the known text has it."""
    distinct, back = np.unique(own, return_inverse=True)
    found = np.zeros(len(distinct), bool)
    for _, hashes in _hashes(known, n):
        place = np.searchsorted(distinct, hashes)
        place[place == len(distinct)] = 0
        found[place[distinct[place] == hashes]] = True
    result: NDArray[np.bool_] = found[back]
    return result


def _places(run: Ids, known: Ids) -> Iterator[int]:
    """Yield where the known text has as many ids of the same hash."""
    ((_, (own,)),) = _hashes(run, len(run))
    for first, hashes in _hashes(known, len(run)):
        yield from (first + int(i) for i in np.flatnonzero(hashes == own))


def _hashes_of(texts: Sequence[Ids], n: int) -> Hashes:
    """Return the hashes of the n-grams of all texts, none across two."""
    parts = [hashes for ids in texts for _, hashes in _hashes(ids, n)]
    return np.concatenate([np.empty(0, np.uint64), *parts])


def _hashes(ids: Ids, n: int) -> Iterator[tuple[int, Hashes]]:
    """Yield positions, and the hashes of the n-grams that begin there and at the next ones."""
    rng = np.random.default_rng(0)
    power = rng.integers(2**63, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    of_id = rng.integers(2**64, size=int(ids.max(initial=0)) + 1, dtype=np.uint64)
    longest = CHUNK + n - 1
    powers = np.cumprod(np.r_[np.uint64(1), np.full(longest, power)])
    for first in range(0, len(ids) - n + 1, CHUNK):
        piece = ids[first : first + longest]
        sums = np.cumsum(np.r_[np.uint64(0), of_id[piece] * powers[: len(piece)]])
        # All to the same power, so that it does not matter where an n-gram stands.
        count = len(piece) - n + 1
        yield first, (sums[n:] - sums[:-n]) * powers[longest - np.arange(count)]
