"""A command on a terminal: what it writes to a pty, and what stands on the screen then."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from carousel.cli.console import console
from carousel.cli.main import run
from cli.commands import Call, Result, environment

pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
termios = pytest.importorskip("termios", reason="Windows has no pseudo-terminals")

# What rich sends: colours, the cursor up, a line erased, the cursor hidden and shown. Nothing else.
SEQUENCE = re.compile(r"\x1b\[([\d;]*)m|\x1b\[(\d+)A|\x1b\[(2K)|\x1b\[(\?25[lh])")


class Shown(NamedTuple):
    """What a command wrote to a terminal, and how it ended."""

    code: int
    raw: str

    @property
    def lines(self) -> list[str]:
        """The lines of the screen in the end, as long as they were written."""
        return screen(self.raw)

    @property
    def has_colours(self) -> bool:
        return any(match[1] is not None for match in SEQUENCE.finditer(self.raw))


def screen(raw: str) -> list[str]:
    """Return the lines that stand on a screen without end, blank ones at its end left out.

    A character that a terminal obeys, other than what rich sends, fails.
    """
    lines, row, column = [""], 0, 0
    while raw:
        if match := SEQUENCE.match(raw):
            raw = raw[match.end() :]
            if match[2]:
                row = max(0, row - int(match[2]))
            elif match[3]:
                lines[row] = ""
            continue
        character, raw = raw[0], raw[1:]
        if character == "\r":
            assert raw[:1] in ("\n", "\x1b", ""), "rich alone writes over a line"
            column = 0
        elif character == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        else:
            assert character.isprintable() or character == "\t", repr(character + raw[:20])
            lines[row] = lines[row].ljust(column)
            lines[row] = lines[row][:column] + character + lines[row][column + 1 :]
            column += 1
    while lines and not lines[-1].strip():
        lines.pop()
    return [line.rstrip() for line in lines]


_END = b"<the end of what is written>"


@contextmanager
def _reading(columns: int) -> Iterator[tuple[int, bytearray]]:
    """Yield a terminal to write to, and what was written, whole after the block."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    seen = bytearray()

    def read() -> None:
        while not seen.endswith(_END):
            seen.extend(os.read(ours, 65536))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield theirs, seen
    finally:
        os.write(theirs, _END)
        reader.join()
        del seen[-len(_END) :]
        os.close(theirs)
        os.close(ours)


def on_terminal(cwd: Path, *arguments: str | bytes, columns: int = 80, **changes: str) -> Shown:
    """Run a command in a process of its own, on a terminal of so many columns."""
    with _reading(columns) as (terminal, seen):
        process = subprocess.run(
            [sys.executable, "-m", "carousel", *arguments],
            cwd=cwd,
            env=environment(cwd, **{"TERM": "xterm"} | changes),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            timeout=120,
            check=False,
        )
    return Shown(process.returncode, bytes(seen).decode("utf-8"))


def terminal_caller(
    call: Call, monkeypatch: pytest.MonkeyPatch, columns: int, **changes: str
) -> Call:
    """Return a function like `call` whose command writes to a terminal, in this process.

    The result has what stands on the screen as its `err`.
    """
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLUMNS", raising=False)
    for name, value in changes.items():
        monkeypatch.setenv(name, value)

    def call_on_terminal(*arguments: str) -> Result:
        call("--version")  # what the one before left behind
        shown = in_process(monkeypatch, *arguments, columns=columns)
        return Result(shown.code, "", "".join(f"{line}\n" for line in shown.lines))

    return call_on_terminal


def in_process(monkeypatch: pytest.MonkeyPatch, *arguments: str, columns: int = 80) -> Shown:
    """Run a command in this process, on a terminal of so many columns."""
    monkeypatch.setenv("TERM", os.environ.get("TERM", "xterm"))
    with _reading(columns) as (terminal, seen), monkeypatch.context() as patch:
        patch.setattr(console, "is_interactive", os.environ["TERM"] != "dumb")
        with os.fdopen(os.dup(terminal), "w", 1, "utf-8", "surrogateescape") as stream:
            for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
                patch.setattr(sys, name, stream)
            try:
                code = run(list(arguments))
            except SystemExit as exit_:
                code = int(exit_.code or 0)
            for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
                assert getattr(sys, name) is stream, "run() puts back what it replaced"
    return Shown(code, bytes(seen).decode("utf-8"))
