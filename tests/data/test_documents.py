"""Where documents begin, and fingerprints: equal for equal ones, wherever they stand."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carousel.data import documents
from carousel.data.documents import find_documents
from carousel.data.vocabulary import Vocabulary


def found(text: str, block: int = 1 << 18) -> tuple[list[int], list[int]]:
    """The borders and fingerprints of a text."""
    vocabulary = Vocabulary.from_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "BLOCK", block)
        parts = list(find_documents(vocabulary.encode(text), vocabulary))
    assert sum(part.characters for part in parts) == len(text)
    borders = np.concatenate([part.borders for part in parts])
    fingerprints = np.concatenate([part.fingerprints for part in parts])
    assert (borders.dtype, fingerprints.dtype) == (np.int64, np.uint64)
    return borders.tolist(), fingerprints.tolist()


# Few letters and many line feeds, so that documents repeat.
TEXTS = st.lists(st.sampled_from(["\n", "\n\n", "a", "b", "ab", "é😀"]), min_size=1).map("".join)


@given(TEXTS, st.integers(1, 9))
def test_documents_are_found_however_the_text_is_cut_into_blocks(text: str, block: int) -> None:
    borders, fingerprints = found(text, block)
    assert borders == [match.end() for match in re.finditer(r"\n\n+(?=[^\n])", text)]
    pieces = [text[a:b] for a, b in zip([0, *borders], [*borders, len(text)], strict=True)]
    assert fingerprints == [found(piece)[1][0] for piece in pieces]


@given(TEXTS, st.integers(1, 9))
def test_equal_documents_and_only_they_share_a_fingerprint(text: str, block: int) -> None:
    borders, fingerprints = found(text, block)
    edges = [0, *borders, len(text)]
    documents = [text[a:b].rstrip("\n") for a, b in pairwise(edges)]
    assert len(fingerprints) == len(documents)
    pairs = set(zip(documents, fingerprints, strict=True))
    assert len(pairs) == len(set(documents)) == len(set(fingerprints))


def test_a_fingerprint_is_the_polynomial_of_the_module() -> None:
    text = "cab\nc"
    vocabulary = Vocabulary.from_text(text)
    marks = dict(zip(vocabulary.itos, documents._marks(vocabulary).tolist(), strict=True))
    assert marks["\n"] == 0
    assert len(set(marks.values())) == 4
    value = sum(marks[c] * documents._BASE**i for i, c in enumerate(text)) % 2**64
    assert found(text) == ([], [value])


def test_the_whole_text_may_be_line_feeds() -> None:
    assert found("\n\n\n", 2) == ([], [0])


def test_a_long_document_over_many_blocks_is_like_a_short_one_over_one() -> None:
    words = np.random.default_rng(0).integers(0, 26, 50_000)
    story = "".join(chr(97 + k) for k in words)
    borders, fingerprints = found(f"{story}\n\n\n{story}x\n\nother\n\n{story}", 1000)
    assert borders == [50_003, 100_006, 100_013]
    assert fingerprints[0] == fingerprints[3]
    assert len(set(fingerprints)) == 3


def test_a_thousand_near_copies_are_told_apart() -> None:
    story = "the king sang to the queen, and the queen sang to the frog"
    near = {story[:k] + c + story[k + 1 :] for k in range(len(story)) for c in "xyzéüñ 😀"}
    near |= {story[:k] + story[k + 1] + story[k] + story[k + 2 :] for k in range(len(story) - 2)}
    _, fingerprints = found("\n\n".join(sorted(near)))
    assert len(set(fingerprints)) == len(near) > 400


def test_what_the_module_says_of_its_weakness_is_so() -> None:
    word = "a"
    while len(word) < 1 << 10:
        word += word.translate({ord("a"): "b", ord("b"): "a"})
    other = word.translate({ord("a"): "b", ord("b"): "a"})
    _, (mine, theirs) = found(f"{word}\n\n{other}")
    assert mine == theirs
