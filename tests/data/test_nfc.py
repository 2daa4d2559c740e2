"""Normal form C of a stream: what unicodedata makes of the whole, wherever the stream is cut."""

import sys
import tracemalloc
import unicodedata
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgets import TORTURE, amount, torture
from carousel.data.nfc import nfc, reaching_back
from carousel.data.reading import Reading, read_text
from conftest import CORPORA

ANY = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
DECOMPOSING = [c for c in ANY if unicodedata.normalize("NFD", c) != c]
MARKS = [c for c in ANY if unicodedata.combining(c)]
BASES = ["e", "A", "က", "ෙ", "\u1100", "\u1112", "가", "각", "ɔ", "\u0915"]
JAMO = [chr(code) for code in range(0x1100, 0x1200)]
ODDITIES = [
    "\u0344", "\u0340", "\u0f73", "\u0f81", "\u212b", "\u0958", "\u2adc", "\u09be", "\u0dcf",
    "\u1161", "\u1175", "\u11a7", "\u11a8", "\u11c2", "\u11c3", "\u0308\u0301", "\u034f", "\n",
]  # fmt: skip
PIECES = st.sampled_from(ODDITIES) | st.sampled_from(BASES) | st.sampled_from(JAMO)
PIECES |= st.sampled_from(MARKS) | st.sampled_from(DECOMPOSING) | st.characters(codec="utf-8")


def normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def cut(text: str, places: Iterable[int]) -> list[str]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


@torture
@settings(max_examples=amount(300, 10_000))
@given(st.lists(PIECES, max_size=20).map("".join), st.lists(st.integers(0, 1000)))
def test_is_that_of_the_whole_wherever_it_is_cut(text: str, places: list[int]) -> None:
    assert "".join(nfc(cut(text, places))) == normal(text)
    assert "".join(nfc(text)) == normal(text)


@torture
def test_a_character_after_a_cut_changes_nothing_before_it() -> None:
    later = ANY if TORTURE else [*DECOMPOSING, *MARKS, *JAMO]
    for base in [*BASES[:5], "e\u0323", "\u1112\u1161", "\u0f71", "\u0308"]:
        for c in later:
            if "".join(nfc([base, c])) != normal(base + c):
                pytest.fail(f"{base!r} then {c!r}")


def test_every_pair_that_composes_is_kept_together() -> None:
    pairs = [unicodedata.normalize("NFD", c) for c in DECOMPOSING]
    pairs = [pair for pair in pairs if len(pair) > 1]
    assert len(pairs) > 10_000  # Hangul above all
    assert all("".join(nfc(pair)) == normal(pair) for pair in pairs)


def test_characters_that_reach_back_are_few() -> None:
    assert {"\u0301", "\u1161", "\u11c2", "\u0f73", "\u0344", "\u09be"} <= reaching_back()
    assert not reaching_back() & set("ae\n \u1100가语\u212b\u0958\u11a7\u11c3")
    assert len(reaching_back()) < 2000


@pytest.mark.parametrize("mark", ["\u0301", "\u0323\u0301", "\u1161", "\u11a8"])
def test_a_long_run_without_a_place_to_cut_is_held_together(mark: str) -> None:
    text = "a" + mark * 4_000 + "e\u0301 가"
    chunks = cut(text, range(0, len(text), 7))
    assert "".join(nfc(chunks)) == normal(text)


def test_a_long_line_of_letters_streams() -> None:
    tracemalloc.start()
    try:
        length = sum(map(len, nfc("e\u0301" * 50_000 for _ in range(200))))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert length == 10_000_000
    assert peak < 3e6  # the text alone would take 40e6


def test_no_chunk_is_empty() -> None:
    assert list(nfc(["", "a", "", "b", "", ""])) == ["a", "b"]
    assert list(nfc([])) == list(nfc([""])) == []


@pytest.mark.skipif(not CORPORA.is_dir(), reason="the optional folder of corpora is absent")
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_real_texts_of_many_scripts(form: str, tmp_path: Path) -> None:
    for source in sorted((CORPORA / "unicode").glob("*.txt")):
        text = source.read_text(encoding="utf-8")
        path = tmp_path / source.name
        path.write_text(unicodedata.normalize(form, text), encoding="utf-8", newline="")
        assert "".join(read_text([path], Reading(normalize="nfc"))) == normal(text), source.name
