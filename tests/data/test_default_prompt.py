"""The words that a model is given to go on with begin as its text does."""

from typing import Any

import pytest

from carousel.data.default_prompt import LONGEST, opening, opening_of
from carousel.data.vocabulary import Vocabulary


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("THE BRONZE RING\nOnce upon a time in a certain country", "Once upon a time"),
        ("First Citizen:\nBefore we proceed any further", "First Citizen:"),
        ("\n \n  Well, Prince, so Genoa and Lucca are now\n", "Well, Prince, so Genoa"),
        ("0123456789 0123456789 01", "0123456789 0123456789 01"),
        ("0123456789 0123456789 012", "0123456789 0123456789"),
        ("0123456789 0123456789 0123 5", "0123456789 0123456789"),
        ("Anfang,     wo Leerzeichen stehen", "Anfang,     wo"),
        ("ACGT" * 10, ("ACGT" * 10)[:LONGEST]),
        ("a\x1b[31mred\na plain line", "a plain line"),
        ("南山經之首曰鵲山。\n其首", "南山經之首曰鵲山。"),
        ("\n\n", ""),
        ("", ""),
    ],
)
def test_a_text_begins_with(text: str, words: str) -> None:
    assert opening(text) == words


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"corpus": {"opening": "Act I"}}, "Act I"),
        ({"corpus": {"opening": ""}}, ""),
        ({"corpus": {"opening": "Act V"}}, ""),  # it has no V
        ({"corpus": {"opening": ["Act I"]}}, ""),
        ({"corpus": {}}, "Once upon a time"),  # of before this was recorded
        ({"corpus": None}, "Once upon a time"),
        ({}, "Once upon a time"),
    ],
)
def test_a_model_begins_with_what_it_can_spell(config: dict[str, Any], words: str) -> None:
    vocabulary = Vocabulary(tuple(sorted({*"Act I Once upon a time"})))
    assert opening_of(config, vocabulary) == words
    assert opening_of(config, Vocabulary(("x",))) == ""
