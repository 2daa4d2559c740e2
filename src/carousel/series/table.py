"""One column of numbers out of a CSV file: found, checked to the last row, or refused by its place.

Nothing is guessed that would change a number: a cell that is not one is refused with its line and
column. What is guessed (the delimiter, whether there is a header, which column) is told back in
the Series. The file is held in memory.
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carousel.errors import ConfigError, DataError

# In order of preference where a file can be read with several: who writes tabs or semicolons
# often does so because values hold commas.
_DELIMITERS = ("\t", ";", ",")
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
_MISSING = {"", "-", "?", "na", "n/a", "nan", "null", "none"}


@dataclass(frozen=True, eq=False)
class Series:
    """Values in the order of the file.

    Attributes:
        name: Of the file.
        column: The column's name, or "column K" (from 1) where there is no header.
        values: (N,), finite, in the units of the file.
        labels: N texts from the first column, such as dates; where that is the column of the
            values, the numbers of the rows from 1.
        lines: (N,), the line of the file on which each value stands, from 1.
    """

    name: str
    column: str
    values: NDArray[np.float64]
    labels: tuple[str, ...]
    lines: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)


class _Row(NamedTuple):
    line: int  # of the file, from 1, on which the row begins
    cells: list[str]


def parse_series(
    data: bytes, name: str, *, column: str | None = None, encoding: str = "utf-8"
) -> Series:
    """Read a column of a file of comma-, semicolon- or tab-separated values.

    Args:
        data: The file's content.
        name: Of the file, for messages.
        column: Its name in the header, or its number from 1. None takes the last column that
            holds more numbers than other things.
        encoding: Of the file; a byte order mark wins over it.

    Raises:
        DataError: If there is no such table, or a cell of the column is missing, no number or not
            finite; the message names line and column.
        ConfigError: If there is no such column or encoding.
    """
    rows = _rows(_decoded(data, name, encoding), name)
    # 1,5 is refused; but where it stands, nobody is to get another column in its place.
    numeric = _numeric_columns(rows[1:] or rows, decimal=",")
    has_header = len(rows) > 1 and any(
        rows[0].cells[k].lower() not in _MISSING and _number(rows[0].cells[k]) is None
        for k in numeric
    )
    names = rows[0].cells if has_header else []
    body = rows[1:] if has_header else rows
    if len(rows[0].cells) == 1:
        _check_no_gap(body, name)
    k = _chosen(column, names, len(rows[0].cells), numeric, name)
    title = names[k] if has_header and names[k] else f"column {k + 1}"
    return Series(
        name=name,
        column=title,
        values=np.array([_value(row, k, title, name) for row in body]),
        labels=tuple(row.cells[0] if k else f"{n}" for n, row in enumerate(body, start=1)),
        lines=np.array([row.line for row in body]),
    )


def _check_no_gap(rows: Sequence[_Row], name: str) -> None:
    """Refuse a blank line between values that stand alone on theirs: there it is a missing one."""
    for row, after in pairwise(rows):
        if after.line != row.line + 1:
            raise DataError(f"line {row.line + 1} of {name}: the value is missing")


def _decoded(data: bytes, name: str, encoding: str) -> str:
    marked = next((codec for mark, codec in _MARKS.items() if data.startswith(mark)), encoding)
    try:
        return data.decode(marked)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not {marked.upper()}: byte 0x{data[error.start]:02x} at offset "
            f"{error.start}; --encoding NAME reads another encoding"
        ) from None
    except (LookupError, UnicodeError):  # unknown, or for names of hosts
        raise ConfigError(f"encoding must be one that Python knows, got {encoding!r}") from None


def _rows(text: str, name: str) -> list[_Row]:
    """Part a text into rows of equally many cells, by the delimiter that makes them so."""
    if not text.strip():
        raise DataError(f"{name} is empty")
    readings: list[list[_Row]] = []
    faults: list[DataError] = []
    for delimiter in _DELIMITERS:
        try:
            readings.append(_split(text, delimiter, name))
        except DataError as fault:
            faults.append(fault)
    even = [rows for rows in readings if len({len(row.cells) for row in rows}) == 1]
    tables = [rows for rows in even if len(rows[0].cells) > 1]
    columns = [rows for rows in even if len(rows[0].cells) == 1 and _numeric_columns(rows[1:])]
    if tables or columns:  # max takes the first of equals
        return max(tables or columns, key=lambda rows: len(_numeric_columns(rows[1:])))
    rows = max(readings, key=lambda rows: sum(len(row.cells) > 1 for row in rows), default=[])
    if faults and 2 * sum(len(row.cells) > 1 for row in rows) <= len(rows):
        raise faults[-1]  # of the comma, if it has one
    usual = Counter(len(row.cells) for row in rows).most_common(1)[0][0]
    for row in rows:
        if (count := len(row.cells)) != usual:
            cells = f"{count} cell{'s' * (count > 1)}"
            raise DataError(f"line {row.line} of {name} has {cells}, most lines have {usual}")
    return rows


def _split(text: str, delimiter: str, name: str) -> list[_Row]:
    """Read rows as the csv module does, strictly, blank lines left out.

    Raises:
        DataError: If quotes do not close, or stand where this delimiter cannot have them.
    """
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    rows, line = [], 1
    try:
        for cells in reader:
            if cells:
                rows.append(_Row(line, [cell.strip() for cell in cells]))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"line {line} of {name} is no row of a table: {error}") from None
    return rows


def _numeric_columns(rows: Sequence[_Row], decimal: str = ".") -> list[int]:
    """Return the columns that hold more numbers than other things."""
    width = len(rows[0].cells) if rows else 0
    counts = [
        sum(_number(row.cells[k].replace(decimal, ".", 1)) is not None for row in rows)
        for k in range(width)
    ]
    return [k for k, count in enumerate(counts) if 2 * count > len(rows)]


def _number(cell: str) -> float | None:
    """Return what a cell says, NaN and infinity too; None where it is no number."""
    try:
        return float(cell) if "_" not in cell else None  # Python reads 1_000
    except ValueError:
        return None


def _chosen(column: str | None, names: list[str], width: int, numeric: list[int], file: str) -> int:
    """Return which column is meant, from 0."""
    if column is None:
        if not numeric:
            raise DataError(f"{file} has no column of numbers")
        return numeric[-1]
    if (count := names.count(column)) > 1:
        raise ConfigError(f"{file} has {count} columns named {column}: say its number")
    if column in names:
        return names.index(column)
    if column.isdecimal() and 1 <= int(column) <= width:
        return int(column) - 1
    there = f"{', '.join(names)} or " if names else ""
    raise ConfigError(f"{file} has no column {column!r}; there are {there}1 to {width}")


def _value(row: _Row, k: int, title: str, name: str) -> float:
    """Return the number in a cell.

    Raises:
        DataError: If it is missing, no number, or not finite.
    """
    cell = row.cells[k]
    place = f"line {row.line} of {name}, {title}"
    value = _number(cell)
    if cell.lower() in _MISSING:
        raise DataError(f"{place}: the value is missing{f' ({cell})' if cell else ''}")
    if value is None:
        raise DataError(f"{place}: {cell!r} is not a number such as 1234.5")
    if not math.isfinite(value):
        raise DataError(f"{place}: {cell} is not finite")
    return value
