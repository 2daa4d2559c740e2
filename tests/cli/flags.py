"""Which arguments each command has, read off its dataclass, so that no new one is forgotten."""

import importlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import tyro

from carousel.cli.main import COMMANDS

_POSITIONAL = get_args(tyro.conf.Positional[int])[1]


class Flag(NamedTuple):
    """An argument with a value: a flag, or a positional one, which has no name."""

    command: str
    name: str
    field: str


def flags() -> Iterator[Flag]:
    """Yield the arguments of all commands, but for switches, which have no value."""
    for command in COMMANDS:
        module = importlib.import_module(f"carousel.cli.{command}")
        yield from _flags(command, getattr(module, command.capitalize()))


def _flags(command: str, cls: type) -> Iterator[Flag]:
    hints = get_type_hints(cls, include_extras=True)
    for field in fields(cls):
        kind = hints[field.name]
        if is_dataclass(kind):
            yield from _flags(command, kind)
        elif kind is not bool:
            name = "" if _is_positional(kind) else "--" + field.name.replace("_", "-")
            yield Flag(command, name, field.name)


def _is_positional(kind: Any) -> bool:
    return get_origin(kind) is Annotated and any(part is _POSITIONAL for part in get_args(kind)[1:])
