"""Convert between dataclasses and the tables of JSON and TOML, refusing what does not fit."""

from typing import Any, TypeVar

from carousel.errors import ConfigError, shorten
from carousel.limits import check_value, fields_of, shown

C = TypeVar("C")


def from_table(cls: type[C], table: dict[str, Any], *, where: str = "") -> C:
    """Build a dataclass from a table.

    Args:
        cls: A dataclass of plain fields: numbers, strings, flags, Literals, tuples, or None.
        table: Field names and values; a missing field takes its default.
        where: Named in the message of an error, such as "[model] of my.toml".

    Raises:
        ConfigError: If the table holds an unknown key, or a value of another type or out of range;
            the message names it and says what would work.
    """
    return cls(**check_table(cls, table, where=where))


def check_table(cls: type, table: Any, *, where: str = "") -> dict[str, Any]:
    """Return the fields that a table has, each within the type and limits of the dataclass.

    Raises:
        ConfigError: As `from_table`. Whether the values go together is not checked.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"{where or cls.__name__} must be a table, got {shown(table)}")
    known = fields_of(cls)
    place = f" in {where}" if where else ""
    if unknown := sorted(set(table) - set(known)):
        raise ConfigError(
            f"no setting named {shorten(', '.join(unknown))}{place}; there are {list(known)}"
        )
    values = {}
    for name, value in table.items():
        values[name] = tuple(value) if isinstance(value, list) else value
        check_value(f"{name}{place}", values[name], *known[name])
    return values
