"""The fields of a request: what each may hold, said once for the check and for the description.

`read` returns the checked value or raises ValueError, whose message, if it has one, describes the
value; `expected` says what would work; `schema` is the same as JSON Schema (draft 2020-12). null
stands for the default in every field, and asks for nothing in a field that is not known.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from carousel.server.api_error import ApiError

Schema = dict[str, Any]


class Field(Protocol):
    """The values that a field accepts."""

    @property
    def default(self) -> Any:
        """The value if the field is missing or null."""

    @property
    def expected(self) -> str:
        """Return the accepted values in words, to follow "must be"."""

    def read(self, value: Any) -> Any:
        """Return the value as the program takes it, or raise ValueError."""

    def schema(self) -> Schema:
        """Return what `read` takes, null aside."""


@dataclass(frozen=True)
class Number:
    """A finite number from low, or above it, to high."""

    default: float
    low: float
    high: float
    is_open: bool = False  # low itself is not among them

    @property
    def expected(self) -> str:
        """Return the accepted values in words."""
        return f"a number {'above' if self.is_open else 'from'} {self.low:g} to {self.high:g}"

    def read(self, value: Any) -> float:
        """Return it as a float."""
        if type(value) not in (int, float) or not self.low <= value <= self.high:
            raise ValueError
        if self.is_open and float(value) <= self.low:  # a positive number may round to 0
            raise ValueError
        return float(value)

    def schema(self) -> Schema:
        """Return a range."""
        low = "exclusiveMinimum" if self.is_open else "minimum"
        return {"type": "number", low: self.low, "maximum": self.high}


@dataclass(frozen=True)
class Whole:
    """A whole number from low to high; 5.0 is 5, as in JSON Schema."""

    default: int | None
    low: int
    high: int

    @property
    def expected(self) -> str:
        """Return the accepted values in words."""
        return f"a whole number from {self.low} to {self.high}"

    def read(self, value: Any) -> int:
        """Return it as an int."""
        if type(value) not in (int, float) or not self.low <= value <= self.high:
            raise ValueError
        if value != int(value):
            raise ValueError
        return int(value)

    def schema(self) -> Schema:
        """Return a range."""
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Flag:
    """True or false."""

    default: bool = False
    expected: str = "true or false"

    def read(self, value: Any) -> bool:
        """Return it."""
        if type(value) is not bool:
            raise ValueError
        return value

    def schema(self) -> Schema:
        """Return the type."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class Text:
    """A text of low to high characters."""

    default: str | None
    low: int
    high: int

    @property
    def expected(self) -> str:
        """Return the accepted values in words."""
        return f"a text of {self.low} to {self.high} characters"

    def read(self, value: Any) -> str:
        """Return it."""
        if not isinstance(value, str) or not self.low <= len(value) <= self.high:
            raise ValueError
        return value

    def schema(self) -> Schema:
        """Return the limits of the length."""
        return {"type": "string", "minLength": self.low, "maxLength": self.high}


@dataclass(frozen=True)
class Texts:
    """A text, or a list of low to high such texts; read as a tuple.

    Attributes:
        note: What else a client has to know, in brackets.
    """

    default: tuple[str, ...]
    each: Text
    low: int
    high: int
    note: str = ""

    @property
    def expected(self) -> str:
        """Return the accepted values in words."""
        return f"{self.each.expected}, or a list of {self.low} to {self.high} such{self.note}"

    def read(self, value: Any) -> tuple[str, ...]:
        """Return them all."""
        if not isinstance(value, list):
            return (self.each.read(value),)
        if not self.low <= len(value) <= self.high:
            raise ValueError
        return tuple(self._read_item(value, place) for place in range(len(value)))

    def _read_item(self, texts: list[Any], place: int) -> str:
        try:
            return self.each.read(texts[place])
        except ValueError:
            wrong = f"{show(texts)} whose item {place} is {show(texts[place])}"
            raise ValueError(wrong) from None

    def schema(self) -> Schema:
        """Return one or the other."""
        each = self.each.schema()
        several = {"type": "array", "items": each, "minItems": self.low, "maxItems": self.high}
        return {"anyOf": [each, several]}


@dataclass(frozen=True)
class NoOp:
    """A parameter that this server lacks, accepted at values that ask for nothing.

    Attributes:
        values: These values, null aside.
        use: The field of this server that does what the parameter is for; None: there is none.
        stands_for: Of a field that this server has: the value that these values are read as.
    """

    values: Field
    use: str | None = None
    stands_for: Any = None
    default: None = None

    @property
    def expected(self) -> str:
        """Return the accepted values in words."""
        instead = f"use {self.use} instead" if self.use else "this server has no such setting"
        return f"{self.values.expected} ({instead})"

    def read(self, value: Any) -> None:
        """Return nothing, if the value asks for nothing."""
        self.values.read(value)

    def schema(self) -> Schema:
        """Return these values."""
        description = f"Not supported: use {self.use}." if self.use else "Changes nothing."
        return {**self.values.schema(), "description": description}


@dataclass(frozen=True)
class Nested:
    """An object with fields of its own."""

    name: str
    fields: Mapping[str, Field]
    default: None = None
    expected: str = "an object"

    def read(self, value: Any) -> dict[str, Any]:
        """Return the values of its fields."""
        return read_fields(value, self.fields, self.name)

    def schema(self) -> Schema:
        """Return what its fields may hold."""
        return object_schema(self.fields)


def object_schema(fields: Mapping[str, Field]) -> Schema:
    """Return the JSON Schema of an object with these fields, each of which may be left out."""
    return {
        "type": "object",
        "properties": {name: _nullable(field) for name, field in fields.items()},
        "additionalProperties": {"type": "null"},
    }


def _nullable(field: Field) -> Schema:
    default = {"default": field.default} if isinstance(field.default, int | float) else {}
    return {"anyOf": [field.schema(), {"type": "null"}], **default}


def read_fields(body: Any, fields: Mapping[str, Field], inside: str = "") -> dict[str, Any]:
    """Return every field's checked value, or its default.

    Raises:
        ApiError: If the body is no object, or a field holds something else, or is not known and
            holds anything but null.
    """
    if not isinstance(body, dict):
        raise ApiError(f"{inside or 'the request'} must be a JSON object, got {show(body)}")
    if unknown := [name for name in body if name not in fields and body[name] is not None]:
        known = [name for name, field in fields.items() if not isinstance(field, NoOp)]
        message = f"{inside or 'the request'} has no field {unknown[0][:40]!r}"
        message = f"{message}; there are {', '.join(known)}"
        raise ApiError(message, code="unknown_field", param=_param(unknown[0]))
    return {name: _read(name, field, body.get(name)) for name, field in fields.items()}


def _read(name: str, field: Field, value: Any) -> Any:
    if value is None:
        return field.default
    try:
        return field.read(value)
    except ValueError as error:
        message = f"{name} must be {field.expected}, got {str(error) or show(value)}"
        raise ApiError(message, param=name) from None


def _param(name: str) -> str | None:
    """Return the name of an unknown field, if it is one that a program could mean."""
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,39}", name) else None


def show(value: Any) -> str:
    """Return a JSON value as a short piece of one line, without control characters."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, str):
        return repr(value) if len(value) <= 40 else f"a text of {len(value)} characters"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not math.isfinite(value) if isinstance(value, float) else abs(value) >= 10**40:
        return "a huge number"
    return repr(value)
