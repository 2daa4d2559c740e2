"""Statistics of generated texts: repetition, variety, and the share of known words.

Words are runs of letters, in lower case, apostrophes within them included. The shares depend on how
long the texts are and how many: compare with as many of the same length.
"""

import re
from collections.abc import Collection, Iterator, Sequence

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def words(text: str) -> list[str]:
    """Return the words of a text in their order."""
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def repetition(texts: Sequence[str], n: int = 4) -> float:
    """Return the share of word n-grams that stood in the same text before.

    Source: Welleck et al. 2020, Section 6.1 (seq-rep-n).
    """
    total = repeated = 0
    for text in texts:
        found = list(_ngrams(words(text), n))
        total += len(found)
        repeated += len(found) - len(set(found))
    return repeated / max(total, 1)


def distinct(texts: Sequence[str], n: int) -> float:
    """Return how many different word n-grams all texts have, as a share of all that they have.

    Source: Li et al. 2016, Section 5.2 (distinct-n).
    """
    found = [ngram for text in texts for ngram in _ngrams(words(text), n)]
    return len(set(found)) / max(len(found), 1)


def known_words(texts: Sequence[str], dictionary: Collection[str]) -> float:
    """Return the share of words that the dictionary has.

    The last word of a text may be cut off, and is not counted.
    """
    found = [word for text in texts for word in words(text)[:-1]]
    return sum(word in dictionary for word in found) / max(len(found), 1)


def _ngrams(items: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return (tuple(items[i : i + n]) for i in range(len(items) - n + 1))
