"""Corpora for tests of splits: made by hand where only borders matter, else prepared."""

from pathlib import Path

import numpy as np

from carousel.data.corpus import Corpus, prepare_text
from carousel.data.split import Split
from carousel.data.vocabulary import Vocabulary


def blank_corpus(length: int, borders: list[int] | None = None) -> Corpus:
    """A corpus of which only length and borders matter."""
    places = np.array(borders or [], dtype=np.int64)
    return Corpus(
        name="a text",
        sha256="",
        vocabulary=Vocabulary.from_text("a"),
        ids=np.zeros(length, np.uint8),
        borders=places,
        fingerprints=np.zeros(len(places) + 1, np.uint64),
    )


def of_documents(*documents: str, cache: Path) -> Corpus:
    """The corpus of these documents with a blank line after each."""
    return prepare_text("".join(f"{each}\n\n" for each in documents), "a text", cache=cache)


def bounds(parts: Split) -> list[list[int]]:
    """The one range of each part."""
    assert all(len(ranges) == 1 for ranges in parts.values())
    return [ranges[0].tolist() for ranges in parts.values()]
