"""Help texts of commands, written from the dataclass that holds their arguments."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import docstring_parser
import tyro

from carousel.cli.terminal import folded, printable
from carousel.models.config import CONFIGS

_COLUMN = 26  # where the explanations begin
_WIDEST = 100
_METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


class Option(NamedTuple):
    """An argument of a command, as its help shows it.

    Attributes:
        name: Of the field, with underscores.
        usage: The flag and what follows it, or what stands for a positional argument.
        text: What it does, from the docstring.
        default: What is taken without it; empty if that says nothing.
        is_positional: Whether it has no flag.
    """

    name: str
    usage: str
    text: str
    default: str
    is_positional: bool


class Group(NamedTuple):
    """Options that stand together under a title."""

    title: str
    options: list[Option]


def help_text(prog: str, cls: type, default: object | None = None) -> str:
    """Return the help of a command with all of its options.

    Args:
        prog: The command, such as "carousel eval".
        cls: The dataclass of its arguments.
        default: An instance whose values are shown as the defaults; None: those of the class.
    """
    return layout(prog, cls.__doc__ or "", groups(cls, default))


def layout(
    prog: str, description: str, shown: Sequence[Group], *, notes: Sequence[str] = ()
) -> str:
    """Return a help text: usage, description, notes, and the groups that have options."""
    columns = min(_WIDEST, shutil.get_terminal_size().columns)
    positional = [o.usage for group in shown for o in group.options if o.is_positional]
    usage = " ".join([prog, *positional, "[OPTIONS]"])
    about = docstring_parser.parse(description)
    parts = [folded("usage: ", usage, columns)]
    paragraphs = f"{about.short_description}\n\n{about.long_description or ''}".split("\n\n")
    parts += [folded("", " ".join(p.split()), columns) for p in paragraphs if p.strip()]
    parts += notes
    for title, options in shown:
        lines = [_lines(option, columns) for option in options]
        if lines:
            parts.append("\n".join([f"{title}:", *lines]))
    return printable("\n\n".join(parts) + "\n")


def groups(cls: type, default: object | None = None) -> list[Group]:
    """Return the options of a command: its own first, then those of each dataclass in it."""
    hints, own, nested = get_type_hints(cls, include_extras=True), [], []
    docs = attribute_docs(cls)
    for field in fields(cls):
        value = default_of(field) if default is None else getattr(default, field.name)
        kind = type(value) if is_dataclass(value) else hints[field.name]
        if is_dataclass(kind):
            assert isinstance(kind, type)
            inner = groups(kind, value if is_dataclass(value) else None)
            nested += [Group(field.name, inner[0].options), *inner[1:]]
        else:
            own.append(option(field.name, kind, docs.get(field.name, ""), value))
    return [Group("options", own), *nested]


def option(name: str, hint: Any, text: str, default: object) -> Option:
    """Return an option as its field's type, docstring and default describe it."""
    kind: Any = hint
    marks: list[Any] = []
    if get_origin(hint) is Annotated:
        kind, *marks = get_args(hint)
    is_positional = tyro.conf.Positional in marks
    metavar = next((m.metavar for m in marks if getattr(m, "metavar", None)), None)
    metavar = metavar or metavar_of(kind)
    flag = f"--{name.replace('_', '-')}"
    if kind is bool:
        usage = flag.replace("--", "--no-", 1) if default is True else flag
    elif is_positional:
        usage = f"[{metavar} …]" if get_origin(kind) is tuple and metavar[0] != "[" else metavar
    else:
        usage = f"{flag} {metavar}"
    text, _, described = text.partition(" Default: ")
    if isinstance(default, bool) or default in (None, "", (), MISSING, tyro.MISSING):
        default = described.removesuffix(".")
    shown = f"{default:g}" if isinstance(default, float) else str(default)
    return Option(name, usage, text, shown, is_positional)


def metavar_of(kind: Any) -> str:
    """Return what stands for a value of a type: its choices, or the kind in capitals."""
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        if choices[0] in CONFIGS:  # a family's own name: another one chooses other flags
            choices = tuple(CONFIGS)
        return f"{{{','.join(map(str, choices))}}}"
    if get_origin(kind) in (Union, UnionType, tuple):
        inner = [arg for arg in get_args(kind) if arg not in (NoneType, Ellipsis)]
        return metavar_of(inner[0])
    return _METAVARS.get(kind, "VALUE")


def default_of(field: Field[Any]) -> Any:
    """Return the default of a field, made anew where it is made; MISSING where there is none."""
    factory: Callable[[], Any] | Any = field.default_factory
    return field.default if factory is MISSING else factory()


def attribute_docs(cls: type) -> dict[str, str]:
    """Return what the docstrings of a class and its bases say of each attribute, on one line."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for param in docstring_parser.parse(base.__doc__ or "").params:
            docs[param.arg_name] = " ".join((param.description or "").split())
    return docs


def first_sentence(option: Option) -> Option:
    """Return an option with the first sentence of its text, without the full stop."""
    head, stop, _ = option.text.partition(". ")
    return option._replace(text=head.removesuffix(".") if not stop else head)


def _lines(option: Option, columns: int) -> str:
    default = f" (default: {option.default})" if option.default else ""
    head = f"  {option.usage}"
    text = f"{option.text}{default}".strip()
    if len(head) > _COLUMN - 2:
        return f"{head}\n{folded(' ' * _COLUMN, text, columns)}"
    return folded(head.ljust(_COLUMN), text, columns)


def examples(lines: Sequence[str]) -> str:
    """Return a paragraph of commands to try."""
    return "\n".join(["examples:", *(f"  {line}" for line in lines)])
