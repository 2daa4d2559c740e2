"""Arguments to a dataclass through tyro; a mistake is one line, and exit code 2."""

import contextlib
import io
import re
import sys
from typing import NoReturn, TypeVar

import tyro

C = TypeVar("C")
_STYLE = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes)


def parse(cls: type[C], arguments: list[str], *, prog: str, default: C | None = None) -> C:
    """Build cls from command-line arguments; flags win over the default's values.

    Exits with code 0 after --help, and 2 after one line on stderr where the usage is wrong.
    """
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            if default is None:
                return tyro.cli(cls, args=arguments, prog=prog, config=_STYLE)
            return tyro.cli(cls, args=arguments, prog=prog, default=default, config=_STYLE)
    except SystemExit as exit_:
        if exit_.code in (0, None):
            raise
        usage_error(_one_line(errors.getvalue()), prog)


def usage_error(message: str, prog: str) -> NoReturn:
    """Say in one line what is wrong, and leave with exit code 2."""
    print(f"{prog}: {message} (see {prog} --help)", file=sys.stderr)
    raise SystemExit(2)


def _one_line(box: str) -> str:
    """Take tyro's boxed explanation apart: its statement, and the name it thinks was meant."""
    rows = [row.strip("│ \n") for row in box.splitlines() if row.startswith("│")]
    rule = next((k for k, row in enumerate(rows) if row.startswith("──")), len(rows))
    statement = re.sub(r"\s+", " ", " ".join(rows[:rule])).strip(" .")
    meant = [row.split()[0] for row in rows[rule:] if row.startswith("--")]
    if "Unrecognized" in statement and meant:
        return f"{statement}; perhaps you meant {', '.join(dict.fromkeys(meant))}"
    return statement or box.strip()
