"""Overlap with a known text, against searching for every piece."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carousel.inspection import overlap
from carousel.inspection.overlap import longest_overlap, novel_share

texts_of = st.lists(st.text("ab", max_size=12), min_size=1, max_size=3)


def ids(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "CHUNK", 5)


@given(texts_of, st.text("abc", max_size=40), st.integers(1, 6))
def test_novel_share_is_that_of_a_search(texts: list[str], known: str, n: int) -> None:
    ngrams = [text[i : i + n] for text in texts for i in range(len(text) - n + 1)]
    if not ngrams:
        with pytest.raises(ValueError, match="no text of"):
            novel_share([ids(text) for text in texts], ids(known), n)
        return
    expected = sum(ngram not in known for ngram in ngrams) / len(ngrams)
    assert novel_share([ids(text) for text in texts], ids(known), n) == pytest.approx(expected)


@given(texts_of, st.text("abc", max_size=40))
def test_the_longest_overlap_is_that_of_a_search(texts: list[str], known: str) -> None:
    pieces = {
        text[i:j] for text in texts for i in range(len(text)) for j in range(i, len(text) + 1)
    }
    expected = max((len(piece) for piece in pieces if piece in known), default=0)
    found = longest_overlap([ids(text) for text in texts], ids(known))
    assert found.length == expected
    assert texts[found.text][found.start : found.start + found.length] in known


def test_a_piece_across_two_texts_is_no_overlap() -> None:
    assert longest_overlap([ids("xab"), ids("cdx")], ids("abcd")).length == 2
