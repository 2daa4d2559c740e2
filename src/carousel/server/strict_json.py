"""JSON as its standard has it (RFC 8259), and no more, in and out; what is ambiguous is refused."""

import json
import re
from itertools import accumulate
from typing import Any, NoReturn

from flask import Response

from carousel.server.api_error import ApiError

MAX_DIGITS = 1000  # of one number; the largest float has 309 before its point
MAX_DEPTH = 500  # of lists and objects; Python 3.14 parses any depth, older versions about 900

_NO_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[^\[\]{}"]+', re.DOTALL)
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}


def parse(data: bytes) -> Any:
    """Return the value of a JSON text in UTF-8.

    A field that stands twice is refused: programs differ in which of the two they take. NaN and
    Infinity are no JSON. A number beyond the largest float becomes an infinity, which no field
    takes.

    Raises:
        ApiError: If it is none, with the reason.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _invalid(f"byte {error.start} is not UTF-8") from None
    if depth(text) > MAX_DEPTH:
        raise _invalid(f"it is nested too deeply; {MAX_DEPTH} levels would work")
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant
        )
    except json.JSONDecodeError as error:
        raise _invalid(f"{error.msg.removesuffix(' at')} at character {error.pos}") from None


def depth(text: str) -> int:
    """Return how deeply lists and objects are nested; an upper bound where that is small."""
    brackets = text.count("[") + text.count("{")
    if brackets <= MAX_DEPTH:
        return brackets
    steps = map(_STEPS.__getitem__, _NO_BRACKETS.sub("", text))
    return max(accumulate(steps), default=0)


def write(value: Any) -> str:
    """Return a value as JSON in ASCII, on one line.

    Raises:
        ValueError: If it holds a number that JSON has not.
    """
    return json.dumps(value, allow_nan=False)


def answer(value: Any, status: int = 200) -> Response:
    """Return a value as the answer to a request."""
    return Response(write(value) + "\n", status, mimetype="application/json")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        left = dict(pairs)  # a name that is missing from it has come before
        twice = next(name for name, _ in pairs if left.pop(name, left) is left)
        raise _invalid(f"the field {twice[:40]!r} stands twice")
    return fields


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _invalid(f"a number has {len(digits)} digits; {MAX_DIGITS} would work")
    return int(digits)


def _constant(name: str) -> NoReturn:
    raise _invalid(f"{name} is not a number of JSON")


def _invalid(reason: str) -> ApiError:
    return ApiError(f"the body is not valid JSON: {reason}", code="invalid_json")
