"""Arguments to a dataclass through tyro; a mistake is one line, and exit code 2."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType
from typing import Any, NoReturn, TypeVar, get_args

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from carousel.cli.help import help_text
from carousel.cli.terminal import one_line
from carousel.errors import shorten_words

C = TypeVar("C")
_STYLE = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes)


def parse(cls: type[C], arguments: list[str], *, prog: str, default: C | None = None) -> C:
    """Build cls from command-line arguments; flags win over the default's values.

    Exits with code 0 after --help, and 2 after one line on stderr where the usage is wrong.
    """
    if wants_help(arguments):
        show_help(help_text(prog, cls, default))
    given: Any = {} if default is None else {"default": default}
    built: C = _build(cls, arguments, prog, **given)
    return built


def parse_some(cls: type[C], arguments: list[str], *, prog: str) -> C:
    """Build cls from those command-line arguments that are its own; the others are left alone."""
    built: C = _build(cls, arguments, prog, return_unknown_args=True)[0]
    return built


def wants_help(arguments: list[str]) -> bool:
    """Return whether a command is asked for its help."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return bool({"-h", "--help"} & set(options))


def _build(cls: type, arguments: list[str], prog: str, **how: Any) -> Any:
    try:
        with _tyro_output() as errors:
            return tyro.cli(
                cls, args=arguments, prog=prog, config=_STYLE, registry=_REGISTRY, **how
            )
    except SystemExit:
        usage_error(_one_line(_content(errors)), prog)


def show_help(text: str) -> NoReturn:
    """Print a help text, and leave with exit code 0."""
    print(text, end="", flush=True)  # what cannot be written fails here, not at the very end
    raise SystemExit(0)


def usage_error(message: str, prog: str) -> NoReturn:
    """Print in one line what is wrong, and exit with code 2."""
    print(f"{prog}: {shorten_words(one_line(message))} (see {prog} --help)", file=sys.stderr)
    raise SystemExit(2)


_WIDE = 100_000  # columns, in which no word of a mistake is broken


@contextlib.contextmanager
def _tyro_output() -> Iterator[io.TextIOWrapper]:
    """Yield what tyro writes to stderr meanwhile: plain, and with boxes, everywhere.

    tyro colours everything where stdout is a terminal, also under NO_COLOR, and it draws boxes
    where the encoding of stdout is UTF-8.
    """
    out, errors = (
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogatepass", newline="\n")
        for _ in range(2)
    )
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(_WIDE)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            yield errors
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before


def _content(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


def _number(kind: Callable[[str], C], words: str) -> Callable[[str], C]:
    """Return kind, whose error says what it needs."""

    def read(text: str) -> C:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"must be {words}, got {text!r}") from None

    return read


def _read_path(text: str) -> Path:
    """Return a path; an empty one would be the working folder, which nobody means."""
    if not text or "\0" in text:
        raise ValueError(f"must be the name of a file or folder, got {text!r}")
    return Path(text)


# How one argument becomes a value. Beside each type stands its own "or None" (tyro's would list
# both, in the help as in an error).
_READERS: dict[type, tuple[str, Callable[[str], Any]]] = {
    int: ("INT", _number(int, "a whole number")),
    float: ("FLOAT", _number(float, "a number")),
    str: ("TEXT", str),
    Path: ("PATH", _read_path),
}
_REGISTRY = ConstructorRegistry()


@_REGISTRY.primitive_rule
def _plain_or_none(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Read a value of a type in _READERS, or the word None where None is allowed."""
    options = get_args(info.type) or (info.type,)
    kinds = [option for option in options if option is not NoneType]
    if len(kinds) != 1 or kinds[0] not in _READERS:
        return None
    kind, can_be_none = kinds[0], NoneType in options
    metavar, read = _READERS[kind]
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: (
            None if can_be_none and words[0] == "None" else read(words[0])
        ),
        is_instance=lambda value: isinstance(value, kind) or (can_be_none and value is None),
        str_from_instance=lambda value: [str(value)],
    )


def _one_line(box: str) -> str:
    """Parse tyro's boxed message: its statement, and its suggestions."""
    rows = [row.strip("│ \n") for row in box.splitlines() if row.startswith("│")]
    rule = next((k for k, row in enumerate(rows) if row.startswith("──")), len(rows))
    statement = re.sub(r"\s+", " ", " ".join(rows[:rule])).strip(" .")
    # "Error parsing --flag: …", but also "Error parsing model: …" of a group, which names the flag.
    statement = re.sub(r"^Error parsing (?:(--\S+)|\S+): ", r"\1 ", statement).strip()
    statement = re.sub(
        r"^Missing from [^:]+: (\S+) (.+?)\.? \(required\)$", r"\1 is missing: \2", statement
    )
    meant = [row.split()[0] for row in rows[rule:] if row.startswith("--")]
    if "Unrecognized" in statement and meant:
        return f"{statement}; perhaps you meant {', '.join(dict.fromkeys(meant))}"
    if "Unrecognized" in statement and "-" not in statement:
        return f"{statement}; a text of several words stands in quotation marks behind its option"
    return statement or re.sub(r"\s+", " ", box).strip()
