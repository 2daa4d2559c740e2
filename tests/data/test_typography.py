"""Curly quotes of a telephone, given to a model whose books have straight ones."""

import unicodedata

import pytest

from carousel.data.typography import PLAIN, plain_forms, plainly
from carousel.data.vocabulary import Vocabulary
from carousel.errors import TextError


def test_every_plain_form_is_of_ascii_and_every_sign_is_not() -> None:
    assert all(len(sign) == 1 and not sign.isascii() for sign in PLAIN)
    assert all(plain.isascii() for plain in PLAIN.values())
    kinds = {
        "'": "SINGLE|PRIME", '"': "DOUBLE", "-": "DASH|HYPHEN|BAR", "...": "ELLIPSIS", " ": "SPACE"
    }  # fmt: skip
    for sign, plain in PLAIN.items():
        name = unicodedata.name(sign)
        assert any(kind in name for kind in kinds[plain].split("|")), name


def test_only_what_is_not_known_is_written_plainly_and_only_where_that_is_known() -> None:
    assert plain_forms("abc") == {}
    assert set(plain_forms("'’").items()) == {(sign, "'") for sign in "‘‚‛′"}
    assert plain_forms(".")["…"] == "..."


def test_the_message_says_what_would_work() -> None:
    assert plainly("’", "a'") == '; "\'" is'
    assert plainly("’", "a") == plainly("x", "a'") == ""
    with pytest.raises(TextError, match=r"'—' \(U\+2014\) at position 1 .* vocabulary; '-' is$"):
        Vocabulary(("-", "a")).encode("a—")
