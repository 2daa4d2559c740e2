"""Splits: exact where asked, between documents where there are any, never with an empty part."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.errors import ConfigError, TextError
from carousel.text.corpus import Corpus, prepare, prepare_text
from carousel.text.split import PARTS, Split, contiguous, exact, split
from carousel.text.vocabulary import Vocabulary
from conftest import CORPORA


def corpus(length: int, borders: list[int] | None = None) -> Corpus:
    """A corpus of which only length and borders matter."""
    ids = np.zeros(length, np.uint8)
    places = np.array(borders or [], dtype=np.int64)
    return Corpus("a text", "", Vocabulary.from_text("a"), ids, places)


def cuts(parts: Split) -> list[int]:
    return [stop for _, stop in parts.values()][:-1]


def test_exact_is_the_customary_split_of_tiny_shakespeare() -> None:
    parts = exact(corpus(1_115_394))
    assert parts == {"train": (0, 1_003_854), "validation": (1_003_854, 1_115_394)}


@pytest.mark.parametrize(
    ("fractions", "expected"),
    [
        ((0.9, 0.1), [900]),
        ((0.7, 0.2, 0.1), [700, 900]),  # as floats, 0.7 + 0.2 is less than 0.9
        ((0.29, 0.71), [290]),
        ((1 / 3, 1 / 3, 1 / 3), [333, 666]),
        ((0.8, 0.15, 0.05), [800, 950]),
    ],
)
def test_exact_cuts_where_the_decimals_say(
    fractions: tuple[float, ...], expected: list[int]
) -> None:
    assert cuts(exact(corpus(1000), fractions)) == expected


@pytest.mark.parametrize(
    ("borders", "expected"),
    [
        ([], [900, 950]),
        ([905, 990], [905, 950]),
        ([500], [900, 950]),  # too far away to be worth losing the sizes
        ([897, 960], [897, 960]),
        ([897, 902, 949, 952], [902, 949]),
        ([898, 902], [898, 950]),  # equally near
        ([900, 950], [900, 950]),
        ([925], [900, 950]),  # half-way: both would take it, and leave nothing between
        ([876, 974], [876, 974]),
        ([875, 975], [900, 950]),
        ([0, 1, 1000], [900, 950]),
    ],
)
def test_contiguous_cuts_at_the_nearest_border(borders: list[int], expected: list[int]) -> None:
    assert cuts(contiguous(corpus(1000, borders))) == expected


@settings(deadline=None)
@given(st.integers(1, 500), st.data())
def test_parts_cover_the_text_in_order_and_none_is_empty(length: int, data: st.DataObject) -> None:
    borders = sorted(data.draw(st.sets(st.integers(1, length), max_size=20)))
    try:
        parts = contiguous(corpus(length, borders))
    except TextError:
        assert length < 20
        return
    assert tuple(parts) == PARTS
    edges = [0, *(stop for _, stop in parts.values())]
    assert [start for start, _ in parts.values()] == edges[:-1]
    assert edges[-1] == length
    assert all(start < stop for start, stop in parts.values())
    for cut, percent in zip(cuts(parts), (90, 95), strict=True):
        assert cut in borders or cut == percent * length // 100


def test_a_text_of_200_characters_can_be_split(tmp_path: Path) -> None:
    text = "\n\n".join("abcdefgh" for _ in range(20))[:198] + "\n\n"
    small = prepare_text(text, "small", cache=tmp_path)
    parts = contiguous(small)
    assert len(small) == 200
    assert {name: stop - start for name, (start, stop) in parts.items()} == {
        "train": 180,
        "validation": 10,
        "test": 10,
    }
    assert text[parts["train"][1] - 2 : parts["train"][1]] == "\n\n"


@pytest.mark.parametrize("method", ["contiguous", "exact"])
def test_a_part_that_would_be_empty_is_an_error(method: str) -> None:
    with pytest.raises(TextError, match="a text has 3 characters, too few to split"):
        split(corpus(3), method, (0.1, 0.8, 0.1))  # type: ignore[arg-type]


def test_split_goes_by_the_name_of_the_method() -> None:
    text = corpus(1000, [899])
    assert split(text, "contiguous") == contiguous(text)
    assert split(text, "exact") == exact(text)
    assert split(text, "exact", (0.5, 0.5)) == exact(text, (0.5, 0.5))
    with pytest.raises(ConfigError, match="split must be one of contiguous, exact, got 'random'"):
        split(text, "random")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ((0.9,), r"fractions must be two or three between 0 and 1, got \[0.9\]"),
        ((0.4, 0.3, 0.2, 0.1), "fractions must be two or three"),
        ((1.0, 0.0), "fractions must be two or three between 0 and 1"),
        ((float("nan"), 0.5), "fractions must be two or three between 0 and 1"),
        ((0.9, 0.2), r"fractions must add up to 1, got \[0.9, 0.2\]"),
    ],
)
def test_refuses_fractions(fractions: tuple[float, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        exact(corpus(1000), fractions)


@pytest.mark.skipif(not CORPORA.is_dir(), reason="the optional folder of corpora is absent")
def test_stories_are_cut_between_stories(tmp_path: Path) -> None:
    stories = prepare([CORPORA / "children_stories" / "stories.txt"], cache=tmp_path)
    for cut in cuts(contiguous(stories)):
        assert stories.vocabulary.decode(stories.ids[cut - 2 : cut]) == "\n\n"
        assert abs(cut / len(stories) - 0.925) < 0.026
