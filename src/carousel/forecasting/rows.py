"""Part the text of a CSV file into rows of equally many cells, by the delimiter that does so."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from carousel.errors import DataError
from carousel.machine import available_memory

# In order of preference where a file can be read with several: who writes tabs or semicolons
# often does so because values hold commas.
_DELIMITERS = ("\t", ";", "|", ",")
_SOME = 1000
# Measured with tracemalloc: a row and its trimmed copy take 400 bytes, each further cell 100, and
# there may be one of each for four delimiters.
_BYTES_OF_A_LINE, _BYTES_OF_A_CELL = 1600, 400
# The first line of a file for Excel, which names the delimiter.
_SEP_LINE = re.compile(r'\ufeff?"?sep=(?P<mark>[^\r\n"]|\\t)"?[;,\t ]*(?:\r\n|\r|\n|$)', re.I)


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        line: Of the file, from 1, on which the row begins.
        cells: Without white space around them.
    """

    line: int
    cells: list[str]


class Rows(NamedTuple):
    """The rows of a file.

    Attributes:
        rows: Those that hold something, all of the same width.
        delimiter: Between their cells.
    """

    rows: list[Row]
    delimiter: str


def split_rows(text: str, name: str, is_number: Callable[[str], bool]) -> Rows:
    """Part a text into rows, without rows of empty cells and columns of them at the end.

    Args:
        text: Of the file, decoded.
        name: Of the file, for messages.
        is_number: Whether a cell is a number: the delimiter that gives most columns of them counts.

    Raises:
        DataError: If there is nothing, or the rows have different widths; the message names the
            line.
    """
    named = _SEP_LINE.match(text)
    delimiters: Sequence[str] = _DELIMITERS
    if named:
        mark = named["mark"]
        delimiters = ("\t" if mark == "\\t" else mark,)
        text = text[named.end() :]
    first_line = 2 if named else 1
    if not text.strip():
        raise DataError(f"{name} is empty")
    _check_memory(text, name)
    readings: list[Rows] = []
    faults: list[DataError] = []
    for delimiter in _apart(delimiters, text):
        try:
            rows = _trimmed(_split(text, delimiter, name, first_line))
        except DataError as fault:
            faults.append(fault)
        else:
            readings.append(Rows(rows, delimiter))
    if not any(reading.rows for reading in readings):
        raise faults[-1] if faults else DataError(f"{name} is empty")

    def numbers(reading: Rows) -> int:
        return len(numeric_columns(some(reading.rows[1:]), is_number))

    even = [each for each in readings if each.rows and len({len(r.cells) for r in each.rows}) == 1]
    tables = [each for each in even if len(each.rows[0].cells) > 1]
    columns = [
        each
        for each in even
        if len(each.rows[0].cells) == 1 and numbers(each) and not _divides(each, ",")
    ]
    if tables or columns:  # max takes the first of equals
        return max(tables or columns, key=numbers)
    chosen = max(readings, key=lambda each: sum(len(row.cells) > 1 for row in each.rows))
    if faults and 2 * sum(len(row.cells) > 1 for row in chosen.rows) <= len(chosen.rows):
        raise faults[-1]  # of the comma, if it has one
    _refuse_uneven(chosen, name)
    return chosen


def _apart(delimiters: Sequence[str], text: str) -> Iterator[str]:
    """Yield those that part a text in different ways: one alone of those that it lacks."""
    is_lacking_seen = False
    for delimiter in delimiters:
        is_lacking = delimiter not in text
        if not (is_lacking and is_lacking_seen):
            yield delimiter
        is_lacking_seen |= is_lacking


def _check_memory(text: str, name: str) -> None:
    """Refuse a table whose cells would take more than half of the memory there is.

    Raises:
        DataError: If it is so; the message has the estimate.
    """
    lines = text.count("\n") + text.count("\r")
    needed = lines * _BYTES_OF_A_LINE + sum(map(text.count, _DELIMITERS)) * _BYTES_OF_A_CELL
    memory = available_memory()
    if memory is not None and 2 * needed > memory:
        raise DataError(
            f"{name} has {lines:,} lines, which as a table take about {needed / 1e9:,.1f} GB of "
            f"memory, and there are {memory / 1e9:,.1f} GB: a part of it would work, or "
            "the means of several rows"
        )


def some(rows: Sequence[Row]) -> Sequence[Row]:
    """Return up to some hundred rows from everywhere, which show what a column holds."""
    return rows[:: 1 + len(rows) // _SOME]


def numeric_columns(rows: Sequence[Row], is_number: Callable[[str], bool]) -> list[int]:
    """Return the columns that hold more numbers than other things."""
    width = len(rows[0].cells) if rows else 0
    counts = [sum(is_number(row.cells[k]) for row in rows) for k in range(width)]
    return [k for k, count in enumerate(counts) if 2 * count > len(rows)]


def _divides(column: Rows, mark: str) -> bool:
    """Return whether a column, its header too, has a mark that would divide most of its rows."""
    cells = [row.cells[0] for row in column.rows]
    return mark in cells[0] and 2 * sum(mark in cell for cell in cells) > len(cells)


def _refuse_uneven(table: Rows, name: str) -> None:
    """Raise a DataError that names the first row of another width than most have."""
    usual = Counter(len(row.cells) for row in table.rows).most_common(1)[0][0]
    for row in table.rows:
        if (count := len(row.cells)) != usual:
            cells = f"{count} cell{'s' * (count > 1)}"
            advice = ""
            if row is table.rows[0] and count < usual and table.delimiter == ",":
                advice = "; a number with a comma in it stands in quotation marks"
            raise DataError(
                f"line {row.line} of {name} has {cells}, most lines have {usual}{advice}"
            )


def _split(text: str, delimiter: str, name: str, line: int) -> list[Row]:
    """Read rows as the csv module does, strictly, blank lines left out.

    Raises:
        DataError: If quotes do not close, or stand where this delimiter cannot have them.
    """
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    rows, before = [], line - 1
    try:
        for cells in reader:
            if cells:
                rows.append(Row(line, [cell.strip() for cell in cells]))
            line = before + reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"line {line} of {name} is no row of a table: {error}") from None
    return rows


def _trimmed(rows: list[Row]) -> list[Row]:
    """Leave out rows of empty cells, and the empty cells beyond the last column that has any."""
    if max((len(row.cells) for row in rows), default=0) == 1:
        return rows  # where values stand alone on their lines, an empty cell is a missing one
    rows = [row for row in rows if any(row.cells)]
    width = max((_filled(row.cells) for row in rows), default=0)
    return [Row(row.line, row.cells[:width]) for row in rows]


def _filled(cells: Sequence[str]) -> int:
    """Return the number of cells up to the last that holds something."""
    return next((k for k in range(len(cells), 0, -1) if cells[k - 1]), 0)
