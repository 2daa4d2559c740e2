"""Drawn splits: whole documents or books, each in one part, and the parts are all of the text."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carousel.data.corpus import Corpus, prepare, prepare_text
from carousel.data.range_view import part, total
from carousel.data.split import PARTS, Split, books, documents, sha256, split
from carousel.errors import ConfigError, TextError
from conftest import CORPORA
from data.small_corpora import blank_corpus, of_documents

STORIES = CORPORA / "children_stories"


def assert_whole_units(parts: Split, edges: list[int]) -> None:
    """The parts share nothing, leave nothing out, and begin and end at edges of units only."""
    every = np.concatenate(list(parts.values()))
    every = every[np.argsort(every[:, 0])]
    assert every[:, 0].tolist() == [edges[0], *every[:-1, 1]]
    assert every[-1, 1] == edges[-1]
    assert set(every.ravel().tolist()) <= set(edges)
    for name, ranges in parts.items():
        assert ranges.dtype == np.int64
        assert (ranges[:, 0] < ranges[:, 1]).all(), name
        assert (ranges[1:, 0] > ranges[:-1, 1]).all(), f"{name}: adjacent ranges are one"


@given(
    st.integers(3, 2000),
    st.sets(st.integers(1, 1999), max_size=40),
    st.sampled_from([(0.9, 0.05, 0.05), (0.5, 0.5), (0.2, 0.3, 0.5), (0.98, 0.01, 0.01)]),
    st.integers(0, 2**64 - 1),
)
def test_no_document_is_in_two_parts_and_none_is_lost(
    length: int, borders: set[int], fractions: tuple[float, ...], seed: int
) -> None:
    edges = [0, *sorted(border for border in borders if border < length), length]
    corpus = blank_corpus(length, edges[1:-1])
    if len(edges) - 1 < len(fractions):
        with pytest.raises(TextError, match=f"{len(fractions)} parts need one each"):
            documents(corpus, fractions, seed=seed)
        return
    parts = documents(corpus, fractions, seed=seed)
    assert tuple(parts) == PARTS[: len(fractions)]
    assert_whole_units(parts, edges)
    longest = max(np.diff(edges))
    for name, fraction in zip(parts, fractions, strict=True):
        assert abs(total(parts[name]) - fraction * length) <= 2 * longest + 1, name


def test_documents_of_like_size_are_parted_as_the_fractions_say() -> None:
    corpus = blank_corpus(100_000, list(range(100, 100_000, 100)))
    parts = documents(corpus)
    assert {name: total(ranges) for name, ranges in parts.items()} == {
        "train": 90_000,
        "validation": 5_000,
        "test": 5_000,
    }
    assert len(parts["validation"]) > 40  # from all over the text
    assert total(documents(corpus, (0.5, 0.25, 0.25))["train"]) == 50_000


def test_the_seed_decides() -> None:
    corpus = blank_corpus(1000, list(range(10, 1000, 10)))
    assert sha256(documents(corpus, seed=3)) == sha256(documents(corpus, seed=3))
    assert len({sha256(documents(corpus, seed=seed)) for seed in range(20)}) == 20
    assert sha256(split(corpus, "documents", seed=3)) == sha256(documents(corpus, seed=3))
    halves = split(corpus, "documents", (0.5, 0.5), seed=3)
    assert sha256(halves) == sha256(documents(corpus, (0.5, 0.5), seed=3))


def test_the_parts_are_the_documents_with_their_blank_lines(tmp_path: Path) -> None:
    told = [f"TALE {k}\nOnce there were {k} owls." for k in range(40)]
    corpus = of_documents(*told, cache=tmp_path)
    texts = {
        name: corpus.vocabulary.decode(part(corpus.ids, ranges)[:])
        for name, ranges in documents(corpus, (0.6, 0.2, 0.2)).items()
    }
    found = [text.removesuffix("\n\n").split("\n\n") for text in texts.values()]
    assert sorted(chain(*found)) == sorted(told)
    assert [len(each) for each in found] == [24, 8, 8]


def test_too_few_documents_say_what_would_work(tmp_path: Path) -> None:
    with pytest.raises(
        TextError,
        match=r"^a text has 2 documents, and 3 parts need one each, with blank lines between them: "
        "--split contiguous or exact would work$",
    ):
        documents(of_documents("one", "two", cache=tmp_path))
    with pytest.raises(TextError, match="a text has 1 document, and 2 parts"):
        documents(of_documents("one", cache=tmp_path), (0.5, 0.5))
    assert len(documents(of_documents("one", "two", "three", cache=tmp_path))) == 3


@pytest.mark.parametrize("method", ["documents", "books"])
def test_refuses_fractions(method: str, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("offset_chars\tlength_chars\n0\t1\n1\t1\n2\t998\n")
    with pytest.raises(ConfigError, match="fractions must add up to 1"):
        split(
            blank_corpus(1000, [10, 20]),
            method,  # type: ignore[arg-type]
            (0.5, 0.6),
            index=tmp_path / "a.tsv" if method == "books" else None,
        )


@pytest.fixture
def library(tmp_path: Path) -> tuple[Corpus, Path, list[str]]:
    """Twelve books of several stories each, with their index."""
    told = [
        "\n\n".join(f"BOOK {k} STORY {j}\nwords and words" for j in range(1 + k % 3))
        for k in range(12)
    ]
    lines, text = ["offset_chars\tlength_chars\ttitle"], ""
    for k, book in enumerate(told):
        lines.append(f"{len(text)}\t{len(book)}\tBOOK {k}")
        text += book + "\n\n"
    (tmp_path / "index.tsv").write_text("\n".join(lines) + "\n")
    return prepare_text(text, "library", cache=tmp_path), tmp_path / "index.tsv", told


def test_no_book_is_in_two_parts(library: tuple[Corpus, Path, list[str]]) -> None:
    corpus, index, told = library
    parts = books(corpus, index, (0.5, 0.25, 0.25), seed=1)
    texts = [corpus.vocabulary.decode(part(corpus.ids, ranges)[:]) for ranges in parts.values()]
    assert all(sum(book + "\n\n" in text for text in texts) == 1 for book in told)
    assert sum(map(len, texts)) == len(corpus)
    assert sha256(split(corpus, "books", (0.5, 0.25, 0.25), seed=1, index=index)) == sha256(parts)
    assert len({sha256(books(corpus, index, seed=seed)) for seed in range(5)}) > 1


def test_too_few_books_say_what_may_work(library: tuple[Corpus, Path, list[str]]) -> None:
    corpus, index, _ = library
    index.write_text(f"offset_chars\tlength_chars\n0\t{len(corpus)}\n")
    message = "library has 1 book, and 3 parts need one each: --split documents may work"
    with pytest.raises(TextError, match=message):
        books(corpus, index)


@pytest.mark.skipif(not CORPORA.is_dir(), reason="the optional folder of corpora is absent")
@pytest.mark.parametrize("cut", ["documents", "books"])
def test_the_stories_are_drawn_story_by_story_or_book_by_book(
    cut: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = tmp_path_factory.getbasetemp() / "stories"  # prepared once for both
    corpus = prepare([STORIES / "stories.txt"], cache=cache)
    index = STORIES / "stories.index.tsv"
    rows = [line.split("\t") for line in index.read_text().splitlines()[1:]]
    edges = {
        "documents": [0, *corpus.borders.tolist(), len(corpus)],
        "books": [*(int(row[0]) for row in rows), len(corpus)],
    }[cut]
    ways: dict[str, Callable[[int], Split]] = {
        "documents": lambda seed: documents(corpus, seed=seed),
        "books": lambda seed: books(corpus, index, seed=seed),
    }
    for seed in range(3):
        parts = ways[cut](seed)
        assert_whole_units(parts, edges)
        for name in ("validation", "test"):
            share = len(corpus) / 20
            assert abs(total(parts[name]) - share) < 0.005 * share
        one = part(corpus.ids, parts["test"])[:]
        assert len(one) == total(parts["test"])
