"""The two readings of a text: what it holds, then its ids. Both hash it, both use all cores."""

import hashlib
from collections.abc import Iterable
from contextlib import closing
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carousel.data.parallel import ordered_map
from carousel.data.vocabulary import Vocabulary, code_points
from carousel.errors import TextError

_CODES = 0x110000  # as many code points has Unicode


class Survey(NamedTuple):
    """Results of the first pass over a text."""

    sha256: str  # of the text in UTF-8
    vocabulary: Vocabulary
    characters: int
    documents: int  # no fewer than there are


class _Look(NamedTuple):
    """A chunk of the first pass."""

    utf8: bytes
    fresh: NDArray[np.intp]  # code points that were not known when it was looked at
    characters: int
    pairs: int  # of line feeds


def survey(chunks: Iterable[str]) -> Survey:
    """Read a text for its hash and its characters.

    Raises:
        TextError: If it is empty, or holds half a surrogate pair.
    """
    digest = hashlib.sha256()
    seen = np.zeros(_CODES, dtype=bool)  # written here alone; who reads it meanwhile may know less
    characters, documents = 0, 1

    def look(chunk: str) -> _Look:
        codes = code_points(chunk)
        is_newline = codes == ord("\n")
        return _Look(
            chunk.encode("utf-8", "surrogatepass"),  # which the vocabulary refuses below, by name
            _fresh(codes, seen),
            len(codes),
            int(np.count_nonzero(is_newline[1:] & is_newline[:-1])),
        )

    with closing(ordered_map(look, chunks)) as looks:
        for each in looks:
            digest.update(each.utf8)
            seen[each.fresh] = True
            characters += each.characters
            documents += each.pairs + 1  # one may stand between two chunks
    if characters == 0:
        raise TextError("the text is empty")
    vocabulary = Vocabulary.from_characters(map(chr, np.flatnonzero(seen)))
    return Survey(digest.hexdigest(), vocabulary, characters, documents)


def transcribe(chunks: Iterable[str], vocabulary: Vocabulary, file: BinaryIO) -> str:
    """Write the ids of a text and return its SHA-256.

    If that is not the hash of the text which the vocabulary was made for, what was written is good
    for nothing.
    """
    digest = hashlib.sha256()
    table = _ids_by_code(vocabulary)

    def encode(chunk: str) -> tuple[bytes, NDArray[np.unsignedinteger[Any]]]:
        ids = table.take(code_points(chunk), mode="clip")
        return chunk.encode("utf-8", "surrogatepass"), ids

    with closing(ordered_map(encode, chunks)) as pairs:
        for utf8, ids in pairs:
            digest.update(utf8)
            file.write(ids.data)
    return digest.hexdigest()


def _fresh(codes: NDArray[np.uint32], seen: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the code points that were not seen, each once."""
    unknown = codes[~seen.take(codes)]
    if len(unknown) == 0:
        return np.empty(0, np.intp)
    is_there = np.zeros(_CODES, dtype=bool)
    is_there[unknown] = True
    return np.flatnonzero(is_there)


def _ids_by_code(vocabulary: Vocabulary) -> NDArray[np.unsignedinteger[Any]]:
    """Return the id of each code point up to the last that has one; the others have any."""
    codes = code_points("".join(vocabulary.itos))
    table = np.zeros(int(codes.max()) + 1, vocabulary.dtype)
    table[codes] = np.arange(len(codes))
    return table
