r"""Text that is typed on a command line: escapes such as \n, and forms that a model can spell.

A shell hands over '\n' as a backslash and an n. In the flags that take text they mean a line feed;
files, the Python functions and the HTTP API take every character as it is.
"""

import os
import re
import sys
import unicodedata
from collections.abc import Container, Sequence

from carousel.data.reading import normalise_newlines
from carousel.data.vocabulary import Vocabulary
from carousel.errors import TextError, UsageError

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
_WORDS = {"n": "a line feed", "t": "a tab", "r": "a carriage return"}
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)


def unescape(text: str, flag: str) -> str:
    r"""Return a typed text, as UTF-8 whatever the locale, with \n, \t, \r and \\ replaced.

    Line endings become LF, as in the texts that models learn.

    Args:
        text: As the shell handed it over.
        flag: For messages, with its dashes.

    Raises:
        UsageError: If another character follows a backslash, or none.
        TextError: If it is not UTF-8.
    """
    data = os.fsencode(text)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TextError(
            f"{flag} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}"
        ) from None

    def replace(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise UsageError(
                rf"{flag}: {match[0]} is no escape; there are \n, \t and \r, "
                r"and \\ for a backslash"
            )
        return _ESCAPES[match[1]]

    return "".join(normalise_newlines([_ESCAPE.sub(replace, text)]))


def note_escapes(typed: str, flag: str, known: Container[str]) -> None:
    """Print what an escape meant, to a user of a model that could also write the backslash."""
    letter = next((m[1] for m in _ESCAPE.finditer(typed) if m[1] in _WORDS), None)
    if letter is not None and "\\" in known:
        _print(
            rf"\{letter} in {flag} is {_WORDS[letter]}; \\{letter} is a backslash and "
            f"the letter {letter}"
        )


def best_normal_form(text: str, known: Container[str]) -> str:
    """Return a text, or its canonical equivalent (NFC, NFD) with fewer unknown characters."""
    forms = [text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD"))]
    return min(forms, key=lambda form: sum(character not in known for character in form))


def check_stops(stops: Sequence[str], vocabulary: Vocabulary, length: int) -> tuple[str, ...]:
    """Return stop strings as the model spells them, and print which can never come up.

    Args:
        stops: Of at least one character each.
        vocabulary: Of the model.
        length: Characters that are written at most.
    """
    result = tuple(best_normal_form(stop, vocabulary.stoi) for stop in stops)
    for stop in result:
        reason = ""
        try:
            vocabulary.encode(stop)
        except TextError as error:
            reason = str(error)
        if not reason and len(stop) > length:
            reason = f"it has {len(stop)} characters, and --length is {length}"
        if reason:
            _print(f"--stop {stop!r} can never come up: {reason}")
    return result


def _print(note: str) -> None:
    print(f"carousel sample: {note}", file=sys.stderr)
