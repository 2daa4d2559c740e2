"""The index of a text's books: their positions, checked against the text.

The table is a file of tab-separated values in UTF-8 with a header line. Two columns count, wherever
they stand: `offset_chars` and `length_chars`, in characters of the text as a corpus holds it (no
byte order mark, line endings as LF). Every other column, such as title or author, is free.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carousel.data.corpus import Corpus
from carousel.data.plain_text import decode_utf8
from carousel.data.reading import normalise_newlines
from carousel.errors import TextError, UnreadableError
from carousel.input_files import INDEX_LIMIT, read_input

COLUMNS = ("offset_chars", "length_chars")
_BLOCK = 1 << 20  # characters looked at at a time


class _Book(NamedTuple):
    """One line of the table."""

    line: int  # from 1; the header is the first
    start: int
    stop: int


def book_starts(path: Path, corpus: Corpus) -> NDArray[np.int64]:
    """Return where each book begins, (D,), ascending; the line feeds between two are the first's.

    The first begins at 0, so that the books cover the text.

    Raises:
        TextError: If the file is no such table, or does not fit the text: books must follow one
            another without overlap, and nothing but line feeds may stand outside of them. The
            message names the line of the table and the place in the text.
    """
    books = list(_read(path))
    end = 0
    for book in books:
        where = f"line {book.line} of {path} does not fit {corpus.name}"
        if book.start < end:
            raise TextError(
                f"{where}: its book begins at {book.start:,}, "
                f"and the book of the line before ends at {end:,}"
            )
        if book.stop > len(corpus):
            raise TextError(
                f"{where}: its book ends at {book.stop:,}, and the text at {len(corpus):,}"
            )
        if (stray := _stray(corpus, end, book.start)) is not None:
            raise TextError(f"{where}: before its book, at {stray}, which is in no book")
        end = book.stop
    if (stray := _stray(corpus, end, len(corpus))) is not None:
        raise TextError(
            f"line {books[-1].line} of {path} does not fit {corpus.name}: "
            f"after its book, the last one, at {stray}, which is in no book"
        )
    return np.array([0, *(book.start for book in books[1:])], np.int64)


def _stray(corpus: Corpus, start: int, stop: int) -> str | None:
    """Describe the first character of a stretch that is no line feed, if there is one."""
    newline = corpus.vocabulary.stoi.get("\n", -1)
    for begin in range(start, stop, _BLOCK):
        others = np.flatnonzero(corpus.ids[begin : min(begin + _BLOCK, stop)] != newline)
        if len(others):
            place = begin + int(others[0])
            return f"{place:,}, stands {corpus.vocabulary.itos[corpus.ids[place]]!r}"
    return None


def _read(path: Path) -> Iterator[_Book]:
    """Read the table line by line; there is at least one book."""
    header, *rows = _lines(path)
    names = header.split("\t")
    for name in COLUMNS:
        if names.count(name) != 1:
            raise TextError(
                f"line 1 of {path} must name the columns {' and '.join(COLUMNS)}, "
                f"with tabs between them; it says {header[:80]!r}"
            )
    if not rows:
        raise TextError(f"{path} names no book")
    columns = [names.index(name) for name in COLUMNS]
    for number, row in enumerate(rows, start=2):
        values = row.split("\t")
        if len(values) <= max(columns):
            raise TextError(f"line {number} of {path} has {len(values)} of {len(names)} columns")
        start, length = (_number(values[k], names[k], number, path) for k in columns)
        if length == 0:
            raise TextError(f"line {number} of {path}: length_chars must be at least 1, got 0")
        yield _Book(number, start, start + length)


def _lines(path: Path) -> list[str]:
    try:
        text = "".join(normalise_newlines([decode_utf8(read_input(path, INDEX_LIMIT), str(path))]))
    except (FileNotFoundError, NotADirectoryError):
        raise TextError(f"no such file: {path}") from None
    except UnreadableError as error:
        raise TextError(str(error)) from None
    except OSError as error:
        raise TextError(f"{path} cannot be read: {error.strerror}") from None
    return text.rstrip("\n").split("\n")


def _number(value: str, column: str, line: int, path: Path) -> int:
    digits = value.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise TextError(
            f"line {line} of {path}: {column} must be a whole number, got {value[:40]!r}"
        )
    return int(digits)
