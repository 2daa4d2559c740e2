"""Documents that stand in two parts of a split: what was learned by heart would be judged there.

Only whole documents are compared, line feeds at their end apart: one that a cut goes through
belongs to no part. Those of fewer than 20 characters up to the next (a line of stars, "THE END")
do not count.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carousel.data.corpus import Corpus
from carousel.data.range_view import Ranges
from carousel.data.split import Split
from carousel.data.vocabulary import Ids

SHORTEST = 20  # characters of a document that counts, with the line feeds at its end
_BLOCK = 1 << 20  # documents looked at at a time

_SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")

Numbers = NDArray[np.int64]  # of documents, counted from 0
Range = tuple[int, int]  # [start, stop) in the text


class Repeated(NamedTuple):
    """Documents of a held-out part that also occur in an earlier part.

    Attributes:
        part: Its name.
        others: Names of the parts before it.
        documents: How many of its documents stand there too.
        of: How many documents it has.
        characters: In the repeated ones, without the line feeds at their ends.
        first_line: Of the first repeated document.
        position: Where that begins in the text.
        position_there: Where its like begins in a part before.
    """

    part: str
    others: tuple[str, ...]
    documents: int
    of: int
    characters: int
    first_line: str
    position: int
    position_there: int


def duplicates(corpus: Corpus, parts: Split) -> list[Repeated]:
    """Return for each part but the first what stands in the parts before it; none where nothing.

    Documents are found by their fingerprints, and compared character by character.
    """
    names = list(parts)
    whole = [_whole_documents(corpus, ranges) for ranges in parts.values()]
    found = []
    for k in range(1, len(names)):
        starts, stops = _bounds(corpus, whole[k])
        own = whole[k][stops - starts >= SHORTEST]
        pairs = list(_pairs(corpus, own, whole[:k]))
        if pairs:
            (first, there), *_ = pairs
            found.append(
                Repeated(
                    part=names[k],
                    others=tuple(names[:k]),
                    documents=len(pairs),
                    of=len(own),
                    characters=sum(stop - start for (start, stop), _ in pairs),
                    first_line=_first_line(corpus, *first),
                    position=first[0],
                    position_there=there[0],
                )
            )
    return found


def _whole_documents(corpus: Corpus, ranges: Ranges) -> Numbers:
    """Return the documents that lie within one of the ranges, ascending."""
    starts, stops = ranges.T
    # Document d begins at border d - 1 and ends at border d; the first begins with the text.
    first = np.where(starts == 0, 0, np.searchsorted(corpus.borders, starts) + 1)
    end = np.searchsorted(corpus.borders, stops, side="right")
    end += stops == len(corpus)  # the last document ends there, at no border
    lengths = np.maximum(end - first, 0)
    begins = np.cumsum(lengths) - lengths
    return np.repeat(first - begins, lengths) + np.arange(lengths.sum())


def _bounds(corpus: Corpus, numbers: Numbers) -> tuple[Numbers, Numbers]:
    """Return where these documents begin and end, the line feeds at their ends included."""
    last = len(corpus.borders)
    starts, stops = np.zeros_like(numbers), np.full_like(numbers, len(corpus))
    starts[numbers > 0] = corpus.borders[numbers[numbers > 0] - 1]
    stops[numbers < last] = corpus.borders[numbers[numbers < last]]
    return starts, stops


def _pairs(corpus: Corpus, own: Numbers, others: list[Numbers]) -> Iterator[tuple[Range, Range]]:
    """Yield each of these documents that has its like in the others, and the first such."""
    likes = _alike(corpus, own, others)
    marks = corpus.fingerprints[likes]  # ascending
    first, end = (np.searchsorted(marks, corpus.fingerprints[own], side) for side in _SIDES)
    is_candidate = first < end
    candidates = zip(
        *_bounds(corpus, own[is_candidate]), first[is_candidate], end[is_candidate], strict=True
    )
    starts, stops = _bounds(corpus, likes)
    newline = corpus.vocabulary.stoi.get("\n", -1)
    ids = np.asarray(corpus.ids)  # which is quicker to index than a memmap, and no copy
    for start, stop, low, high in candidates:
        content = _stripped(ids[start:stop], newline)
        for k in range(low, high):
            like = _stripped(ids[starts[k] : stops[k]], newline)
            if np.array_equal(content, like):
                yield _range(start, content), _range(starts[k], like)
                break


def _alike(corpus: Corpus, own: Numbers, others: list[Numbers]) -> Numbers:
    """Return the documents of the others with a fingerprint of our own, in the order of these."""
    wanted = np.unique(corpus.fingerprints[own])
    found = [np.empty(0, np.int64)]
    for numbers in others:
        for begin in range(0, len(numbers), _BLOCK):
            block = numbers[begin : begin + _BLOCK]
            found.append(block[np.isin(corpus.fingerprints[block], wanted)])
    joined = np.concatenate(found)
    return joined[np.argsort(corpus.fingerprints[joined], kind="stable")]


def _stripped(ids: Ids, newline: int) -> Ids:
    """Return a document without the line feeds at its end."""
    stop = len(ids)
    while stop > 0 and ids[stop - 1] == newline:
        stop -= 1
    return ids[:stop]


def _range(start: int, content: Ids) -> Range:
    return int(start), int(start) + len(content)


def _first_line(corpus: Corpus, start: int, stop: int) -> str:
    text = corpus.vocabulary.decode(corpus.ids[start : min(stop, start + 200)])
    return text.lstrip("\n").split("\n")[0]
