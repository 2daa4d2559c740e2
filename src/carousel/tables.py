"""Between dataclasses and the tables of JSON and TOML: unknown keys and wrong types are refused."""

import types
from dataclasses import fields
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from carousel.errors import ConfigError, shorten

C = TypeVar("C")
_LONGEST_INT = 1023  # bits, of which every number is a float; Python writes no more than 14,000


def from_table(cls: type[C], table: dict[str, Any], *, where: str = "") -> C:
    """Build a dataclass from a table.

    Args:
        cls: A dataclass of plain fields: numbers, strings, flags, Literals, tuples, or None.
        table: Field names and values; a missing field takes its default.
        where: Named in the message of an error, such as "[model] of my.toml".

    Raises:
        ConfigError: If the table holds an unknown key or a value of another type; the message
            names it and says what there is.
    """
    return cls(**check_table(cls, table, where=where))


def check_table(cls: type, table: Any, *, where: str = "") -> dict[str, Any]:
    """Return the fields that a table has, each of the type that the dataclass wants.

    Raises:
        ConfigError: As `from_table`; whether the values go together is not asked.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"{where or cls.__name__} must be a table, got {_shown(table)}")
    hints = get_type_hints(cls)
    known = [field.name for field in fields(cls)]
    place = f" in {where}" if where else ""
    if unknown := sorted(set(table) - set(known)):
        raise ConfigError(
            f"no setting named {shorten(', '.join(unknown))}{place}; there are {known}"
        )
    values = {}
    for name, value in table.items():
        values[name] = tuple(value) if isinstance(value, list) else value
        items = value if isinstance(value, list) else [value]
        if any(isinstance(item, int) and item.bit_length() > _LONGEST_INT for item in items):
            raise ConfigError(f"{name}{place} is a number of hundreds of digits")
        if not _fits(values[name], hints[name]):
            raise ConfigError(f"{name}{place} must be {_words(hints[name])}, got {_shown(value)}")
    return values


def _shown(value: Any) -> str:
    """Return a value as a message quotes it; Python writes no hexadecimal number of TOML's size."""
    try:
        return shorten(repr(value))
    except ValueError:
        return "something with a number of thousands of digits"


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether a value read from a table may stand in a field of this type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, arguments[0]) for item in value)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _words(hint: Any) -> str:
    """Name a type as a user would."""
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr, get_args(hint)))}"
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_words(argument) for argument in get_args(hint))
    plain = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return plain.get(hint, "nothing" if hint is type(None) else str(hint))
