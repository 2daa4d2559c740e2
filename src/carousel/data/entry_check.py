"""Check what the numbers of a prepared text mean: whole files can hold a text of somebody else's.

A checksum shows that a disk has kept what was written. Whoever rewrites a file of the cache can
rewrite its checksum too; then ids may lie beyond the vocabulary, and documents begin nowhere.
"""

import hashlib
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carousel.data.parallel import ordered_map
from carousel.data.vocabulary import Ids, Vocabulary

_BLOCK = 1 << 20  # elements looked at together


def check_numbers(vocabulary: Vocabulary, ids: Ids, borders: NDArray[np.int64]) -> None:
    """Refuse ids without a character, and borders that do not ascend within the text.

    Raises:
        ValueError: If there are any, or the characters are not in the order of their code points.
    """
    if any(before >= after for before, after in pairwise(vocabulary.itos)):
        raise ValueError("the characters of the vocabulary are not in order")
    if any(block.max() >= len(vocabulary) for block in _blocks(ids)):
        raise ValueError("an id has no character")
    last = 0
    for block in _blocks(borders):
        if block[0] <= last or (np.diff(block) <= 0).any():
            raise ValueError("documents do not follow one another")
        last = int(block[-1])
    if len(borders) and last >= len(ids):
        raise ValueError("a document begins beyond the text")


def check_content(
    vocabulary: Vocabulary, ids: Ids, sha256: str, step: Callable[[int, int], None]
) -> None:
    """Refuse ids that are not those of the text of this hash; takes as long as to read it.

    Raises:
        ValueError: If the text is another one, or lacks a character of the vocabulary.
    """
    digest, seen, done = hashlib.sha256(), np.zeros(len(vocabulary), bool), 0

    def look(block: Ids) -> tuple[bytes, NDArray[np.bool_]]:
        return vocabulary.decode(block).encode(), np.bincount(block, minlength=len(seen)) > 0

    with closing(ordered_map(look, _blocks(ids))) as looks:
        for utf8, present in looks:
            digest.update(utf8)
            np.logical_or(seen, present, out=seen)
            done = min(done + _BLOCK, len(ids))
            step(done, len(ids))
    if digest.hexdigest() != sha256 or not seen.all():
        raise ValueError("the ids are those of another text")


def _blocks(array: NDArray[Any]) -> Any:
    """Yield an array in blocks, none of them empty."""
    return (array[begin : begin + _BLOCK] for begin in range(0, len(array), _BLOCK))
