"""Splits: exact where asked, between documents where there are any, never with an empty part."""

from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.data.corpus import prepare, prepare_text
from carousel.data.split import PARTS, Method, Split, contiguous, exact, sha256, split
from carousel.errors import ConfigError, TextError
from carousel.training.config import DataConfig
from conftest import CORPORA
from data.small_corpora import blank_corpus as corpus
from data.small_corpora import bounds


def cuts(parts: Split) -> list[int]:
    return [stop for _, stop in bounds(parts)][:-1]


def test_exact_is_the_customary_split_of_tiny_shakespeare() -> None:
    parts = exact(corpus(1_115_394))
    assert list(parts) == ["train", "validation"]
    assert bounds(parts) == [[0, 1_003_854], [1_003_854, 1_115_394]]


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
    edges = [0, *(stop for _, stop in bounds(parts))]
    assert [start for start, _ in bounds(parts)] == edges[:-1]
    assert edges[-1] == length
    assert all(start < stop for start, stop in bounds(parts))
    for cut, percent in zip(cuts(parts), (90, 95), strict=True):
        assert cut in borders or cut == percent * length // 100


def test_a_text_of_200_characters_can_be_split(tmp_path: Path) -> None:
    text = "\n\n".join("abcdefgh" for _ in range(20))[:198] + "\n\n"
    small = prepare_text(text, "small", cache=tmp_path)
    parts = contiguous(small)
    assert len(small) == 200
    assert bounds(parts) == [[0, 180], [180, 190], [190, 200]]
    assert text[178:180] == "\n\n"


@pytest.mark.parametrize("method", ["contiguous", "exact"])
def test_a_part_that_would_be_empty_is_an_error(method: str) -> None:
    with pytest.raises(TextError, match="a text has 3 characters, too few to split"):
        split(corpus(3), method, (0.1, 0.8, 0.1))  # type: ignore[arg-type]


def test_split_goes_by_the_name_of_the_method() -> None:
    text = corpus(1000, [899])
    assert bounds(split(text, "contiguous")) == bounds(contiguous(text))
    assert bounds(split(text, "exact")) == bounds(exact(text))
    assert bounds(split(text, "exact", (0.5, 0.5))) == bounds(exact(text, (0.5, 0.5)))
    message = "split must be one of contiguous, exact, documents, books, got 'random'"
    with pytest.raises(ConfigError, match=message):
        split(text, "random")  # type: ignore[arg-type]


def test_the_settings_know_every_method() -> None:
    assert get_type_hints(DataConfig)["split"] == Method


@pytest.mark.parametrize(("method", "index"), [("books", None), ("documents", Path("a.tsv"))])
def test_an_index_is_for_books_and_books_need_one(method: str, index: Path | None) -> None:
    with pytest.raises(
        ConfigError, match=r"--split books needs --index|--index is for --split boo"
    ):
        split(corpus(1000), method, index=index)  # type: ignore[arg-type]


def test_the_hash_of_a_split_tells_parts_apart() -> None:
    parts = exact(corpus(1000))
    train, validation = parts["train"], parts["validation"]
    # Written down once: a run resumed on another machine compares with what this one wrote.
    assert sha256(parts).startswith("890a2e1cd4910cd0")
    others: list[Split] = [
        exact(corpus(1001)),
        {"train": validation, "validation": train},
        {"train": train, "test": validation},
        {"train": np.array([[0, 500], [600, 900]]), "validation": validation},
    ]
    assert len({sha256(parts), *map(sha256, others)}) == 5
    assert sha256({"train": train.astype(">i8"), "validation": validation}) == sha256(parts)


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
