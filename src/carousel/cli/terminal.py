r"""Text on its way to the user: a terminal shows every character of it and obeys none.

Texts, names of files and columns, settings and checkpoints come from outside. On a terminal each
character of theirs that moves the cursor, recolours or renames the window, turns the direction of
writing round or is not seen at all is shown as its escape: \x1b, \x9b, \u202e. Pipes and files get
all characters as they are, but for halves of surrogate pairs, which are no characters: U+FFFD.
"""

import errno
import logging
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from textwrap import wrap
from typing import IO, Any, cast

from carousel.plain_paths import readable

# Controls (C0 but for tab and line feed, DEL, C1), and what Unicode calls format characters: marks
# and overrides of direction, zero widths, byte order marks, tags, the soft hyphen. Those that are
# seen (signs before numbers, joiners of hieroglyphs) are left out.
_OBEYED_OR_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\uffa0"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)


def printable(text: str) -> str:
    r"""Return a text for a terminal: what it would obey or hide becomes an escape such as \x1b.

    Tabs and line feeds stay. Halves of surrogate pairs become U+FFFD.
    """
    return _OBEYED_OR_UNSEEN.sub(_escape, readable(text))


def one_line(text: str) -> str:
    r"""Return a text as one line for a terminal or a pipe: line feeds and returns become \n, \r."""
    return re.sub("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", _escape, readable(text))


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def width(stream: IO[str]) -> int:
    """Return the columns to fold lines at: the terminal's; of pipes and files, no end."""
    return shutil.get_terminal_size().columns if stream.isatty() else 10_000


def folded(head: str, text: str, columns: int) -> str:
    """Return a text behind its head, folded, its further lines below its first.

    Words are not broken. In a terminal too narrow for both the text stands below the head.

    Args:
        head: The spaces behind it included.
        text: One line.
        columns: To fold at, see `width`.
    """
    indent = len(head)
    if columns - indent < 20 and len(head + text) > columns:
        indent = 2
    lines = wrap(text, max(20, columns - indent), break_long_words=False, break_on_hyphens=False)
    if indent < len(head):
        return "\n".join([head.rstrip(), *(f"{' ' * indent}{line}" for line in lines)])
    return head + f"\n{' ' * indent}".join(lines)


class LastingStream:
    """Wrap a stream; output to a terminal that was closed is dropped.

    Writing may fail before the signal that says so (SIGHUP) has come, which is to save a run.

    Attributes:
        stream: The stream that it stands before.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        with _dropping():
            self.stream.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each line."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is kept back."""
        with _dropping():
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        """Return what the stream has: isatty, fileno, encoding, …."""
        return getattr(self.stream, name)


@contextmanager
def _dropping() -> Iterator[None]:
    """Pass over the error of a terminal that is gone."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise


class VisibleStream(LastingStream):
    """Wrap stdout or stderr; a terminal shows control characters instead of obeying them."""

    def write(self, text: str) -> int:
        """Write a text, exactly to pipes and files, visibly to a terminal."""
        super().write(printable(text) if self.stream.isatty() else readable(text))
        return len(text)


def bare(stream: IO[str]) -> IO[str]:
    """Return the stream behind a VisibleStream and rich's proxies, which takes colours."""
    while True:
        behind = stream.stream if isinstance(stream, LastingStream) else None
        behind = behind or getattr(stream, "rich_proxied_file", None)
        if behind is None:
            return stream
        stream = cast("IO[str]", behind)


@contextmanager
def visible_output() -> Iterator[None]:
    """Route stdout, stderr and the log through a VisibleStream."""
    before = sys.stdout, sys.stderr
    if isinstance(sys.stdout, TextIOWrapper):  # text goes out exactly, whatever the locale
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    sys.stdout, sys.stderr = (_visible(stream) for stream in before)
    if logging.lastResort is not None:  # rich would obey escapes beside a progress bar
        logging.lastResort.setFormatter(VisibleFormatter())
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _visible(stream: Any) -> Any:
    """Return a stream behind a VisibleStream; None, where there is no console, stays."""
    return stream if stream is None or isinstance(stream, VisibleStream) else VisibleStream(stream)


class VisibleFormatter(logging.Formatter):
    """Format a message as one line, which no terminal obeys; a traceback may follow."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return printable(one_line(super().formatMessage(record)))
