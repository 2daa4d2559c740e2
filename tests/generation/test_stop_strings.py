"""A text ends before its first stop string, and what may begin one is held back."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from carousel.generation.stop import StopMatcher, until_stop


def read(text: Sequence[str], stop: Sequence[str]) -> tuple[list[str], str]:
    """Return the pieces, and why the text ended."""
    pieces = []
    generator = until_stop(text, stop)
    while True:
        try:
            pieces.append(next(generator))
        except StopIteration as end:
            return pieces, end.value


def test_without_stop_strings_each_character_comes_at_once() -> None:
    assert read("abc", []) == (["a", "b", "c"], "length")
    assert read("", []) == ([], "length")


def test_ends_before_the_stop_string() -> None:
    assert read("one. THE END two", ["THE END"]) == (list("one. "), "stop")
    assert read("THE END", ["THE END"]) == ([], "stop")


def test_holds_back_only_what_may_begin_a_stop_string() -> None:
    assert read("xTHxTHE", ["THE END"]) == (["x", "THx", "THE"], "length")


def test_a_false_start_may_hold_the_true_one() -> None:
    assert read("aab", ["ab"]) == (["a"], "stop")
    assert read("ababac", ["abac"]) == (["ab"], "stop")
    assert read("aaab", ["aab"]) == (["a"], "stop")
    assert read("ababab", ["abac"]) == (["ab", "ab", "ab"], "length")


def test_of_several_the_first_to_be_complete_ends_the_text() -> None:
    assert read("abcd", ["bcd", "c"]) == (["a", "b"], "stop")
    assert read("abc", ["c", "bc"]) == (["a"], "stop")  # both at once: the longest
    assert read("xab", ["abc", "b"]) == (["x", "a"], "stop")


def test_nothing_is_read_beyond_the_stop_string() -> None:
    text = iter("a.bc")
    assert read(text, ["."]) == (["a"], "stop")
    assert "".join(text) == "bc"


WORDS = st.text("ab", min_size=1, max_size=4)


@given(st.lists(st.text("ab", max_size=3), max_size=12), st.lists(WORDS, max_size=3))
def test_any_text_ends_where_a_search_says(pieces: list[str], stop: list[str]) -> None:
    text = "".join(pieces)
    ends = [text.find(s) + len(s) for s in stop if s in text]
    got, why = read(pieces, stop)
    if not ends:
        assert ("".join(got), why) == (text, "length")
    else:
        longest = max(len(s) for s in stop if text[: min(ends)].endswith(s))
        assert ("".join(got), why) == (text[: min(ends) - longest], "stop")
    assert all(got)


@given(st.text("ab", max_size=12), st.lists(WORDS, min_size=1, max_size=3))
def test_what_is_certain_is_not_held_back(text: str, stop: list[str]) -> None:
    released = ""
    for piece in until_stop(feed := Feed(text), stop):
        released += piece
        held = feed.read[len(released) :]
        # whatever is still held begins a stop string, or was cut off as one
        assert any(s.startswith(held) for s in stop) or any(feed.read.endswith(s) for s in stop)


@given(st.text("ab", max_size=12), st.lists(st.integers(0, 12)), st.lists(WORDS, max_size=3))
def test_the_end_does_not_depend_on_how_the_text_is_cut(
    text: str, cuts: list[int], stop: list[str]
) -> None:
    ending = StopMatcher(stop)
    places = [0, *sorted(cuts), len(text)]
    got = ""
    for begin, end in pairwise(places):
        certain, is_met = ending.add(text[begin:end])
        got += certain
        if is_met:
            break
    else:
        is_met = False
        got += ending.rest()
    pieces, why = read(text, stop)
    assert (got, is_met) == ("".join(pieces), why == "stop")


def test_nothing_is_held_back_where_nothing_can_end_the_text() -> None:
    ending = StopMatcher([])
    assert ending.add("any text") == ("any text", False)
    assert ending.rest() == ""


class Feed:
    """A text that remembers how much of it was read."""

    def __init__(self, text: str) -> None:
        self.text, self.read = text, ""

    def __iter__(self):
        for character in self.text:
            self.read += character
            yield character
