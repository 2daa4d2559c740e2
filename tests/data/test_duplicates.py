"""Documents in two parts are found, counted and shown; what only looks alike is not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carousel.data.corpus import Corpus, prepare_text
from carousel.data.duplicates import SHORTEST, Repeated, duplicates
from carousel.data.split import Split, documents, exact
from data.small_corpora import of_documents

OWL = "THE OWL\nOnce there was an owl."
FROG = "THE FROG\nOnce there was a frog."
KING = "THE KING\nOnce there was a king."
MOON = "THE MOON\nOnce there was a moon."


def parted(corpus: Corpus, parts: list[str]) -> Split:
    """A split of documents: the part of each, in their order."""
    edges = [0, *corpus.borders.tolist(), len(corpus)]
    assert len(edges) == len(parts) + 1
    return {
        name: np.array(
            [[edges[k], edges[k + 1]] for k, part in enumerate(parts) if part == name], np.int64
        ).reshape(-1, 2)
        for name in ("train", "validation", "test")
        if name in parts
    }


def test_what_also_stands_in_training_is_counted_and_shown(tmp_path: Path) -> None:
    corpus = of_documents(OWL, FROG, KING, OWL, MOON, KING, cache=tmp_path)
    text = corpus.vocabulary.decode(corpus.ids)
    parts = parted(corpus, ["train", "train", "train", *["validation"] * 3])
    assert duplicates(corpus, parts) == [
        Repeated(
            part="validation",
            others=("train",),
            documents=2,
            of=3,
            characters=len(OWL) + len(KING),
            first_line="THE OWL",
            position=text.index(OWL, 1),
            position_there=0,
        )
    ]


def test_the_test_part_is_compared_with_training_and_validation(tmp_path: Path) -> None:
    corpus = of_documents(OWL, FROG, MOON, FROG, KING, cache=tmp_path)
    parts = parted(corpus, ["train", "validation", "train", "test", "test"])
    (found,) = duplicates(corpus, parts)
    assert (found.part, found.others) == ("test", ("train", "validation"))
    assert (found.documents, found.of, found.characters) == (1, 2, len(FROG))
    assert found.first_line == "THE FROG"
    assert found.position_there == len(OWL) + 2


def test_nothing_is_reported_where_nothing_stands_twice_across_parts(tmp_path: Path) -> None:
    corpus = of_documents(OWL, OWL, FROG, FROG, KING, MOON, cache=tmp_path)
    parts = parted(corpus, ["train", "train", "validation", "validation", "test", "test"])
    assert duplicates(corpus, parts) == []


def test_line_feeds_at_the_end_make_no_difference(tmp_path: Path) -> None:
    text = f"{OWL}\n\n\n\n{FROG}\n\n{OWL}\n\n{FROG}"
    corpus = prepare_text(text, "a text", cache=tmp_path)
    (found,) = duplicates(corpus, parted(corpus, ["train", "train", "validation", "validation"]))
    assert (found.documents, found.characters) == (2, len(OWL) + len(FROG))


def test_documents_that_are_nearly_alike_are_not(tmp_path: Path) -> None:
    corpus = of_documents(OWL, OWL + "!", " " + OWL, OWL.upper(), cache=tmp_path)
    parts = parted(corpus, ["train", "validation", "validation", "validation"])
    assert duplicates(corpus, parts) == []


def test_tiny_documents_do_not_count(tmp_path: Path) -> None:
    tiny, small = "x" * (SHORTEST - 3), "y" * (SHORTEST - 2)  # and the two line feeds
    corpus = of_documents("THE END", tiny, small, "THE END", tiny, small, cache=tmp_path)
    (found,) = duplicates(corpus, parted(corpus, ["train"] * 3 + ["validation"] * 3))
    assert (found.documents, found.of, found.first_line) == (1, 1, small)


def test_fingerprints_only_suggest(tmp_path: Path) -> None:
    """Were all of them equal, the same would be found."""
    corpus = of_documents(OWL, FROG, KING, MOON, KING, OWL, cache=tmp_path)
    parts = parted(corpus, ["train"] * 3 + ["validation"] * 2 + ["test"])
    blind = replace(corpus, fingerprints=np.full(6, 7, np.uint64))
    found = duplicates(blind, parts)
    assert found == duplicates(corpus, parts)
    assert [(each.part, each.documents) for each in found] == [("validation", 1), ("test", 1)]


def test_a_document_that_a_cut_goes_through_belongs_to_no_part(tmp_path: Path) -> None:
    corpus = of_documents(OWL, FROG, OWL, FROG, cache=tmp_path)
    whole = exact(corpus, (0.5, 0.5))  # between the documents
    assert duplicates(corpus, whole)[0].documents == 2
    through_the_third = {
        "train": np.array([[0, len(corpus) // 2 + 3]]),
        "validation": np.array([[len(corpus) // 2 + 3, len(corpus)]]),
    }
    (found,) = duplicates(corpus, through_the_third)
    assert (found.documents, found.of, found.first_line) == (1, 1, "THE FROG")
    through_the_first = {"train": np.array([[1, len(corpus)]]), "validation": np.array([[0, 1]])}
    assert duplicates(corpus, through_the_first) == []


@pytest.mark.parametrize("text", ["no blank line in all of this\n" * 9, "ab", "\n" * 50])
def test_a_text_of_one_document_has_none(text: str, tmp_path: Path) -> None:
    corpus = prepare_text(text, "a text", cache=tmp_path)
    half = len(corpus) // 2
    parts = {"train": np.array([[0, half]]), "validation": np.array([[half, len(corpus)]])}
    assert duplicates(corpus, parts) == []


@given(st.lists(st.integers(0, 6), min_size=3, max_size=30), st.integers(0, 99))
def test_the_counts_are_those_of_comparing_every_document_with_every_other(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], seed: int
) -> None:
    told = [f"TALE {k}\n" + "la " * (7 + k) + "." for k in numbers]
    cache = tmp_path_factory.getbasetemp() / "duplicates"
    corpus = of_documents(*told, cache=cache)
    parts = documents(corpus, (0.5, 0.25, 0.25), seed=seed)
    edges = [0, *corpus.borders.tolist()]
    owners = [
        name
        for edge in edges
        for name, ranges in parts.items()
        if any(start <= edge < stop for start, stop in ranges)
    ]
    within = {
        name: [tale for tale, owner in zip(told, owners, strict=True) if owner == name]
        for name in parts
    }
    expected = {
        "validation": [t for t in within["validation"] if t in within["train"]],
        "test": [t for t in within["test"] if t in within["train"] + within["validation"]],
    }
    found = {each.part: each for each in duplicates(corpus, parts)}
    for name, tales in expected.items():
        if not tales:
            assert name not in found
            continue
        assert found[name].documents == len(tales)
        assert found[name].of == len(within[name])
        assert found[name].characters == sum(map(len, tales))
        assert told[edges.index(found[name].position)] == tales[0]
        assert told[edges.index(found[name].position_there)] == tales[0]
