"""Find characters that a text seldom holds, and that show a file was read in the wrong way."""

import unicodedata
from typing import NamedTuple

import numpy as np

from carousel.data.corpus import Corpus

_USUAL = "\t\n\f"
_NO_CHARACTERS = "\ufeff\ufffe\uffff"  # a byte order mark inside of a text; and two that are none
_BLOCK = 1 << 22  # ids looked at at a time


class ControlCharacter(NamedTuple):
    """A control character of a text.

    Attributes:
        character: It.
        times: How often it occurs.
        first: Where it occurs first, in characters from 0.
    """

    character: str
    times: int
    first: int


def find_control_characters(corpus: Corpus) -> list[ControlCharacter]:
    """Return the control characters of a text but for tab, line feed and form feed.

    A text without any is not read again: its vocabulary shows it.
    """
    return [
        _find(corpus, token, character)
        for token, character in enumerate(corpus.vocabulary.itos)
        if character in _NO_CHARACTERS
        or (unicodedata.category(character) == "Cc" and character not in _USUAL)
    ]


def _find(corpus: Corpus, token: int, character: str) -> ControlCharacter:
    count, first = 0, -1
    for begin in range(0, len(corpus), _BLOCK):
        is_it = corpus.ids[begin : begin + _BLOCK] == token
        if first < 0 and is_it.any():
            first = begin + int(np.argmax(is_it))
        count += int(np.count_nonzero(is_it))
    return ControlCharacter(character, count, first)
