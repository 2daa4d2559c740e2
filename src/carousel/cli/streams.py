"""Stdin, stdout and stderr, whatever the caller did to them."""

import contextlib
import os
import sys
from io import TextIOWrapper


def open_streams() -> None:
    """Make stdout write UTF-8, whatever the locale, and open the streams that the caller closed.

    Otherwise the next file to be opened, a checkpoint, would be stdout. Nothing comes from a closed
    stdin, and stderr goes nowhere; but writing to a closed stdout is an error: what a user asked
    for would be lost without a word.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # open takes the least number that is free, which is this one
            os.open(os.devnull, os.O_RDONLY if descriptor < 2 else os.O_WRONLY)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


def drop_output() -> None:
    """Discard output that stdout cannot take; Python would retry at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
