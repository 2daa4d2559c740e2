"""Types and limits of settings, declared once with each field and checked in one way.

@dataclass(frozen=True)
class Config:
steps: int | None = bounded(None, at_least=1)

def __post_init__(self) -> None:
check_fields(self)
"""

import math
import operator
import types
from collections.abc import Mapping
from dataclasses import Field, field, fields
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from carousel.errors import ConfigError, shorten

_KEY = "limits"
_LONGEST_INT = 1023  # bits: still a float; Python prints no number above 14,000 bits


class Limits(NamedTuple):
    """The range of a number; infinite ends are no limits."""

    at_least: float = -math.inf
    above: float = -math.inf
    at_most: float = math.inf
    below: float = math.inf

    def hold(self, value: float) -> bool:
        """Return whether a number is within the limits; NaN and infinity never are."""
        is_finite = isinstance(value, int) or math.isfinite(value)
        return (
            is_finite and self.at_least <= value <= self.at_most and self.above < value < self.below
        )

    def __str__(self) -> str:
        """Return the limits in words, such as "at least 1, at most 64"."""
        ends = (("at least", 0), ("above", 1), ("at most", 2), ("below", 3))
        words = [f"{name} {_number(self[k])}" for name, k in ends if math.isfinite(self[k])]
        return ", ".join(words)


NO_LIMITS = Limits()


def bounded(default: Any, **limits: float) -> Any:
    """Return a dataclass field with a default and limits: at_least, above, at_most, below."""
    return field(default=default, metadata={_KEY: Limits(**limits)})


def limits_of(each: Field[Any]) -> Limits:
    """Return the limits of a dataclass field."""
    limits: Limits = each.metadata.get(_KEY, NO_LIMITS)
    return limits


def check_fields(config: Any) -> None:
    """Check every field of a dataclass; integers of other kinds, such as numpy's, become int.

    Raises:
        ConfigError: If a field has another type or is out of range; the message names it.
    """
    hints = _hints(config.__class__)
    for each in fields(config):
        value = getattr(config, each.name)
        if type(value) is not int and not isinstance(value, bool) and hasattr(value, "__index__"):
            value = operator.index(value)
            object.__setattr__(config, each.name, value)
        check_value(each.name, value, hints[each.name], limits_of(each))


def check_integer(name: str, value: object, **limits: float) -> None:
    """Raise ConfigError unless a value is an int (and no bool) within limits."""
    check_value(name, value, int, Limits(**limits))


def check_value(name: str, value: Any, hint: Any, limits: Limits = NO_LIMITS) -> None:
    """Check the type and the range of one value.

    Args:
        name: Used in the message, such as "steps in [training] of my.toml".
        value: Checked.
        hint: int, float, bool, str, a Literal, a tuple of one of them, or a union with None.
        limits: Of a number.

    Raises:
        ConfigError: If the value has another type or is out of range.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if _fits(value, hint) and not _is_long(value) and (not is_number or limits.hold(value)):
        return
    raise ConfigError(f"{name} must be {_words(hint, limits)}, got {shown(value)}")


def shown(value: Any) -> str:
    """Return a value as a message quotes it; Python prints no integer of thousands of digits."""
    if _is_long(value):
        return "a number of hundreds of digits"
    try:
        return shorten(repr(list(value) if isinstance(value, tuple) else value))
    except ValueError:
        return "something with a number of thousands of digits"


def fields_of(cls: type) -> Mapping[str, tuple[Any, Limits]]:
    """Return the type and the limits of each field of a dataclass, by its name."""
    hints = _hints(cls)
    return {each.name: (hints[each.name], limits_of(each)) for each in fields(cls)}


@lru_cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, arguments[0]) for item in value)
    if hint in (int, float):
        kinds = (int, float) if hint is float else (int,)
        return isinstance(value, kinds) and not isinstance(value, bool)
    return isinstance(value, hint)


def _is_long(value: Any) -> bool:
    """Return whether a value is, or holds, an int beyond the largest float."""
    items = value if isinstance(value, tuple) else (value,)
    return any(isinstance(each, int) and each.bit_length() > _LONGEST_INT for each in items)


def _words(hint: Any, limits: Limits) -> str:
    """Return what a field may hold, in the user's words."""
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr, get_args(hint)))}"
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [each for each in get_args(hint) if each is not type(None) or limits == NO_LIMITS]
        return " or ".join(_words(each, limits) for each in kinds)
    if get_origin(hint) is tuple:
        return "a list of numbers" if get_args(hint)[0] in (int, float) else "a list of texts"
    plain = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}
    words = plain.get(hint, "nothing" if hint is type(None) else str(hint))
    return f"{words}, {limits}" if limits != NO_LIMITS and hint in (int, float) else words


def _number(value: float) -> str:
    """Return a limit as people write it: 2^64 - 1, not its digits."""
    if isinstance(value, int) and value == 2**64 - 1:
        return "2^64 - 1"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
