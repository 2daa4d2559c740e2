"""Characters and ids: exact both ways, and clear about what is not known."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.data.vocabulary import Vocabulary, code_points
from carousel.errors import TextError

ODDITIES = "\0\t\n é\u0301\u200d\u2028\ufeff\uffff😀\U0010ffff"  # in the order of code points
ABC = Vocabulary.from_text("cab a")


def test_ids_follow_code_points() -> None:
    assert ABC.itos == (" ", "a", "b", "c")
    assert ABC.stoi == {" ": 0, "a": 1, "b": 2, "c": 3}
    assert len(ABC) == 4
    assert ABC.encode("cab a").tolist() == [3, 1, 2, 0, 1]


def test_equal_characters_make_equal_vocabularies() -> None:
    assert ABC == Vocabulary.from_characters(iter("bca ")) == Vocabulary(tuple(" abc"))
    assert Vocabulary(tuple("cab ")) != ABC


@settings(deadline=None)
@given(st.text(min_size=1))
def test_decodes_what_it_encodes(text: str) -> None:
    vocabulary = Vocabulary.from_text(text)
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.encode(text).tolist() == [vocabulary.stoi[c] for c in text]


@settings(deadline=None)
@given(st.lists(st.characters(codec="utf-8"), min_size=1, unique=True))
def test_json_gives_it_back_in_its_own_order(characters: list[str]) -> None:
    vocabulary = Vocabulary(tuple(characters))
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary


def test_json_is_plain_ascii() -> None:
    text = Vocabulary.from_text(ODDITIES).to_json()
    assert text.isascii()
    assert json.loads(text) == list(ODDITIES)


@pytest.mark.parametrize(
    ("size", "dtype"), [(1, "u1"), (256, "u1"), (257, "u2"), (65536, "u2"), (65537, "u4")]
)
def test_the_smallest_type_that_holds_every_id(size: int, dtype: str) -> None:
    characters = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x20000)][:size]))
    vocabulary = Vocabulary.from_text(characters)
    ids = vocabulary.encode(characters)
    assert ids.dtype == vocabulary.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(ids, np.arange(size))
    assert vocabulary.decode(ids) == characters


def test_no_text_has_no_ids() -> None:
    assert ABC.encode("").shape == (0,)
    assert ABC.encode("").dtype == np.uint8
    assert ABC.decode([]) == ""


@pytest.mark.parametrize("dtype", ["i1", "i8", "u4"])
def test_decodes_any_integers(dtype: str) -> None:
    assert ABC.decode(np.array([3, 1, 2], dtype)) == "cab"
    assert ABC.decode([3, 1, 2]) == "cab"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abé", "'é' (U+00E9) at position 2 is not among the 4 characters of the vocabulary"),
        ("\0", "'\\x00' (U+0000) at position 0 "),
        ("cab😀", "'😀' (U+1F600) at position 3 "),
        ("d~~", "'d' (U+0064) at position 0 "),  # one beyond the last that is known
        ("a\udc80", "'\\udc80' (U+DC80) at position 1 "),
    ],
)
def test_names_the_first_unknown_character(text: str, message: str) -> None:
    with pytest.raises(TextError) as caught:
        ABC.encode(text)
    assert str(caught.value).startswith(message)


def test_positions_count_from_the_start_of_the_longer_text() -> None:
    with pytest.raises(TextError, match=r"'x' .* at position 1002 "):
        ABC.encode("abx", start=1000)


@settings(deadline=None)
@given(st.text(), st.text(min_size=1), st.sampled_from(["\ufffd? ", "? ", " ", "\ufffd"]))
def test_unknown_characters_are_left_out_or_replaced(text: str, known: str, marks: str) -> None:
    vocabulary = Vocabulary.from_text(known + marks)
    assert vocabulary.itos[vocabulary.replacement] in "\ufffd? "
    skipped = vocabulary.encode(text, on_unknown="skip")
    replaced = vocabulary.encode(text, on_unknown="replace")
    assert skipped.dtype == replaced.dtype == vocabulary.dtype
    mark = vocabulary.itos[vocabulary.replacement]
    assert vocabulary.decode(skipped) == "".join(c for c in text if c in vocabulary.stoi)
    assert vocabulary.decode(replaced) == "".join(c if c in vocabulary.stoi else mark for c in text)


@pytest.mark.parametrize(
    ("known", "mark"),
    [("a ?\ufffd", "\ufffd"), ("a ?", "?"), ("\n ~", " "), ("a\n.", None), ("\ufffd", "\ufffd")],
)
def test_the_best_known_replacement_is_taken(known: str, mark: str | None) -> None:
    vocabulary = Vocabulary.from_text(known)
    assert vocabulary.replacement == (None if mark is None else vocabulary.stoi[mark])


def test_nothing_is_replaced_where_nothing_can_be() -> None:
    vocabulary = Vocabulary.from_text("ab")
    assert vocabulary.encode("abba", on_unknown="replace").tolist() == [0, 1, 1, 0]
    with pytest.raises(TextError) as caught:
        vocabulary.encode("abé", 10, "replace")
    assert str(caught.value) == (
        "'é' (U+00E9) at position 12 is not among the 2 characters of the vocabulary, "
        "and neither are U+FFFD, '?' and ' ', which could replace it"
    )


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([0, 4], r"ids must be in \[0, 4\), got values in \[0, 4\]"),
        ([-1], r"ids must be in \[0, 4\), got values in \[-1, -1\]"),
        ([0.5], "ids must be integers, got float64"),
        ([True], "ids must be integers, got bool"),
    ],
)
def test_refuses_ids_that_are_none(ids: list[float], message: str) -> None:
    with pytest.raises(TextError, match=message):
        ABC.decode(ids)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the vocabulary is not JSON"),
        ("[" * 100_000, "the vocabulary is not JSON"),
        ('{"a": 0}', "the vocabulary is not a JSON list but dict"),
        ("[]", "a vocabulary needs at least one character"),
        ('["a", "bc"]', "a vocabulary holds single characters, got 'bc'"),
        ('["a", ""]', "a vocabulary holds single characters, got ''"),
        ('["a", ["b"]]', r"a vocabulary holds single characters, got \['b'\]"),
        ('["a", 1]', "a vocabulary holds single characters, got 1"),
        ('["a", "b", "a"]', r"a vocabulary holds distinct characters, got 'a' \(U\+0061\) twice"),
        (r'["\ud83d"]', r"'\\ud83d' \(U\+D83D\) is half a surrogate pair"),
    ],
)
def test_refuses_json_that_is_no_vocabulary(text: str, message: str) -> None:
    with pytest.raises(TextError, match=message):
        Vocabulary.from_json(text)


def test_refuses_a_text_without_characters() -> None:
    with pytest.raises(TextError, match="a vocabulary needs at least one character, got none"):
        Vocabulary.from_text("")


@settings(deadline=None)
@given(st.text())
def test_code_points(text: str) -> None:
    assert code_points(text).tolist() == [ord(character) for character in text]
