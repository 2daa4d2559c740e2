"""`carousel tales`: write the built-in tales, a corpus of any size whose entropy is known."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from carousel.cli.console import console
from carousel.cli.parse import parse
from carousel.errors import RunError, UsageError


@dataclass(frozen=True, kw_only=True)
class Tales:
    """Write whole tales until there are enough characters, and say how predictable they are.

    Attributes:
        characters: At least this many.
        seed: The same seed tells the same tales.
        out: File to write. Default: stdout.
    """

    characters: int = 10_000
    seed: int = 0
    out: Path | None = None


def main(arguments: list[str]) -> int:
    """Write the tales and return the exit code."""
    command = parse(Tales, arguments, prog="carousel tales")
    if command.characters < 1:
        raise UsageError(f"--characters must be at least 1, got {command.characters}")
    if command.out is not None and os.path.lexists(command.out):
        raise RunError(f"{command.out} is there already; name another file")
    from carousel.tales import entropy_rate, write

    if command.out is None:
        stream = sys.stdout
        write(stream, command.seed, command.characters)
    else:
        with new_file(command.out) as stream:
            write(stream, command.seed, command.characters)
        size = command.out.stat().st_size  # they are of ASCII
        console.print_line(f"{size:,} characters in {command.out}", style="dim")
    console.print(f"entropy of the source: {entropy_rate():.4f} nats per character", style="dim")
    return 0


@contextmanager
def new_file(path: Path) -> Iterator[TextIO]:
    """Yield a file that was not there before; a block that fails leaves none.

    Raises:
        FileExistsError: If something of its name is there, a link that leads nowhere included.
    """
    with path.open("x", encoding="ascii", newline="\n") as stream:
        made = os.fstat(stream.fileno())
        try:
            yield stream
            stream.flush()
        except BaseException:
            with suppress(OSError):
                if os.path.samestat(made, path.lstat()):
                    path.unlink()
            raise
