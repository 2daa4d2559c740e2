"""Documents of a text: where each begins, and a fingerprint by which equal ones are found.

A document begins at the start of the text, and at each character other than a line feed that
follows a blank line. Its fingerprint is a polynomial in an odd number r, modulo 2⁶⁴,

    F = Σᵢ m(cᵢ) rⁱ        over its characters c₀, c₁, …

with m(c) a fixed random number for each code point, and 0 for a line feed. So line feeds at its end
do not count, and a text gives the same fingerprint whatever else is in its corpus.

Equal documents have equal fingerprints. Two different ones share one by an accident of about 2⁻⁶⁴,
and more often only where long stretches differ by nothing but an exchange; but who wants to can
make such pairs (every polynomial modulo 2⁶⁴ takes the same value on the Thue–Morse word and its
complement, from 2¹⁰ characters on). Compare the characters before you believe it.

Source: Karp and Rabin 1987, Efficient randomized pattern-matching algorithms; Steele, Lea and Flood
2014, Fast splittable pseudorandom number generators (the mixing function of SplitMix64).
"""

from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carousel.data.parallel import ordered_map
from carousel.data.vocabulary import Ids, Vocabulary, code_points

BLOCK = 1 << 18  # characters looked at at a time: 2 MiB of terms, which a core's cache holds

_BASE = 0x9E3779B97F4A7C15  # r, odd
_INVERSE = pow(_BASE, -1, 1 << 64)
_MASK = (1 << 64) - 1


class Documents(NamedTuple):
    """Some documents of a text, in order."""

    borders: NDArray[np.int64]  # where one begins that is not the first of the text
    fingerprints: NDArray[np.uint64]  # of those that have ended
    characters: int  # how far the text was looked at


def find_documents(ids: Ids, vocabulary: Vocabulary) -> Iterator[Documents]:
    """Yield the documents of a text block by block; together, D − 1 borders and D fingerprints.

    Args:
        ids: (N,), N ≥ 1, of the vocabulary; may be mapped from disk.
        vocabulary: What the ids mean.
    """
    length = min(BLOCK, len(ids))
    newline = vocabulary.stoi.get("\n", -1)
    marks, powers, inverses = _marks(vocabulary), _powers(_BASE, length), _powers(_INVERSE, length)

    def look(begin: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Return the borders in a block, and the sums before, between and after them."""
        block = ids[begin : begin + length]
        borders = _borders(ids, begin, begin + len(block), newline)
        starts = np.concatenate([[0], borders - begin])  # of stretches of the block
        sums = np.add.reduceat(marks.take(block) * powers[: len(block)], starts)
        if len(borders) and borders[0] == begin:
            sums[0] = 0  # the stretch is empty, for which reduceat has another opinion
        return borders, sums * inverses[starts]

    begins = range(0, len(ids), length)
    unfinished, characters = 0, 0  # the sum of the document under way, and its characters so far
    with closing(ordered_map(look, begins)) as results:
        for begin, (borders, sums) in zip(begins, results, strict=True):
            end = min(begin + length, len(ids))
            sums[0] = (unfinished + int(sums[0]) * pow(_BASE, characters, 1 << 64)) & _MASK
            unfinished = int(sums[-1])
            characters = end - int(borders[-1]) if len(borders) else characters + end - begin
            is_last = end == len(ids)
            yield Documents(borders, sums if is_last else sums[:-1], end - begin)


def _borders(ids: Ids, begin: int, end: int, newline: int) -> NDArray[np.int64]:
    """Return the places in [begin, end) where a document begins after a blank line."""
    before = max(begin - 2, 0)
    is_newline = ids[before:end] == newline
    is_first = is_newline[:-2] & is_newline[1:-1] & ~is_newline[2:]
    return before + 2 + np.flatnonzero(is_first)


def _marks(vocabulary: Vocabulary) -> NDArray[np.uint64]:
    """Return m of each id, (V,): its code point, mixed as SplitMix64 does; 0 for a line feed."""
    codes = code_points("".join(vocabulary.itos))
    x = (codes.astype(np.uint64) + np.uint64(1)) * np.uint64(_BASE)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return np.where(codes == ord("\n"), np.uint64(0), x)


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    """Return base⁰, base¹, …, (count,), modulo 2⁶⁴."""
    factors = np.full(count, base, np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)
