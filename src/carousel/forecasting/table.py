"""One column of numbers out of a CSV file: found, checked to the last row, or refused by its place.

Nothing is guessed that would change a number: a cell that is not one is refused with its line and
column. What is guessed (the delimiter, whether there is a header, which column, the order of the
rows) is told back in the Series. The file is held in memory.
"""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from carousel.errors import ConfigError, DataError, shorten
from carousel.file_signatures import HEAD, WINDOW, format_of, mark_of, wide_encoding
from carousel.forecasting.columns import Columns, choose_column, read_header
from carousel.forecasting.numbers import (
    Decimal,
    Notation,
    Number,
    check_notation,
    find_notation,
    is_number,
    read_number,
)
from carousel.forecasting.order import Order, find_time, order_rows, split_footer
from carousel.forecasting.rows import Row, split_rows

_MISSING = {
    *("", "-", "--", "–", "—", ".", "..", "?", "na", "n/a", "n.a.", "#n/a", "nan", "null", "none"),
    *("#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!"),
}


@dataclass(frozen=True, eq=False)
class Series:
    """Values in the order of time.

    Attributes:
        name: Of the file.
        column: The column's name, or "column K" (from 1) where there is no header.
        values: (N,), finite, in the units of the file.
        labels: N texts from the column of dates, or from the first one; where that is the column of
            the values, the numbers of the rows from 1.
        lines: (N,), the line of the file on which each value stands, from 1.
        order: How the rows were arranged: as in the "file", "reversed" or "sorted".
        notes: What was understood of the file that need not be so, by topic.
    """

    name: str
    column: str
    values: NDArray[np.float64]
    labels: tuple[str, ...]
    lines: NDArray[np.int64]
    order: Literal["file", "reversed", "sorted"] = "file"
    notes: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)


def parse_series(
    data: bytes,
    name: str,
    *,
    column: str | None = None,
    encoding: str = "utf-8",
    decimal: Decimal = "auto",
    order: Order = "auto",
) -> Series:
    """Read a column of a file of values with commas, semicolons, tabs or bars between them.

    Args:
        data: The file's content.
        name: Of the file, for messages.
        column: Its name in the header, or its number from 1. None takes the last column that
            holds more numbers than other things and does not count the rows.
        encoding: Of the file; a byte order mark wins over it.
        decimal: What stands before decimals: a "point", a "comma", or, where only one of them
            makes sense of the column, that one ("auto").
        order: Of the rows: "auto" begins with the oldest, where there are dates; "file" takes them
            as they stand, "reverse" from the last to the first.

    Raises:
        DataError: If there is no such table, or a cell of the column is missing, no number or not
            finite, or may be two numbers; the message names line and column.
        ConfigError: If there is no such column or encoding.
    """
    is_cell = is_number if decimal == "auto" else partial(_is_number, comma=decimal == "comma")
    table = split_rows(_decoded(data, name, encoding), name, is_cell)
    header, body = read_header(table.rows, is_cell, _is_missing)
    columns = Columns(header, body, is_cell)
    if len(body[0].cells) == 1:
        _check_no_gap(body, name)
    k, notes = choose_column(columns, column, name)
    if (lines := len(table.rows) - len(body)) > 1:
        notes["header"] = f"lines {table.rows[0].line} to {table.rows[lines - 1].line} of {name}"
    title = columns.title(k)
    time = find_time(body, header, k)
    rows, footer = split_footer(body, time, k)
    if footer:
        notes["rows"] = _left_out(footer)
    result = order_rows(rows, time, header, order, name)
    rows, labelled = result.rows, time.columns if time else (0,)
    notation = Notation(decimal == "comma")
    if decimal == "auto":
        cells = [[row.cells[j] for row in rows] for j in columns.numeric if j != k]
        filled = [row.cells[k] for row in rows if not _is_missing(row.cells[k])]
        notation = find_notation(filled, cells, table.delimiter)
        check_notation(notation, [(_place(row, title, name), row.cells[k]) for row in rows])
    numbers = [_number(row, k, title, name, notation) for row in rows]
    _check_units(rows, numbers, title, name)
    notes |= _rewritten(rows, k, numbers)
    labels = ["-".join(row.cells[j] for j in labelled) for row in rows]
    return Series(
        name=name,
        column=title,
        values=np.array([number.value for number in numbers]),
        labels=tuple(labels if k not in labelled else map(str, range(1, len(rows) + 1))),
        lines=np.array([row.line for row in rows]),
        order=result.order,
        notes=notes | result.notes,
    )


def _check_no_gap(rows: Sequence[Row], name: str) -> None:
    """Refuse a blank line between values that stand alone on theirs: there it is a missing one."""
    for row, after in pairwise(rows):
        if after.line != row.line + 1:
            raise DataError(f"line {row.line + 1} of {name}: the value is missing")


def _decoded(data: bytes, name: str, encoding: str) -> str:
    """Return the text of a file.

    Raises:
        DataError: If it is of another format, or does not decode.
        ConfigError: If there is no such encoding.
    """
    mark = mark_of(data)
    codec = {"utf-8": "utf-8-sig", None: encoding}.get(mark, mark) or encoding
    is_wide = unicodedata.normalize("NFKC", codec).lower().startswith(("utf-16", "utf-32", "utf_"))
    if not mark and not is_wide:
        if kind := format_of(data[:HEAD]):
            remedy = "unpack it first" if kind.ending else "save its table as CSV first"
            raise DataError(f"{name} looks like {kind.name}: {remedy}")
        if wide := wide_encoding(data[:WINDOW]):
            raise DataError(
                f"{name} looks like {wide[:6].upper()} without a byte order mark: "
                f"--encoding {wide} reads it"
            )
    try:
        return data.decode(codec).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not {codec.upper()}: byte 0x{data[error.start]:02x} at offset "
            f"{error.start}; --encoding NAME reads another encoding"
        ) from None
    except (LookupError, UnicodeError):  # unknown, or for names of hosts
        raise ConfigError(f"encoding must be one that Python knows, got {encoding!r}") from None


def _is_missing(cell: str) -> bool:
    return cell.lower() in _MISSING


def _is_number(cell: str, *, comma: bool) -> bool:
    return read_number(cell, comma=comma) is not None


def _place(row: Row, title: str, name: str) -> str:
    return f"line {row.line} of {name}, {shorten(title)}"


def _number(row: Row, k: int, title: str, name: str, notation: Notation) -> Number:
    """Return the number in a cell.

    Raises:
        DataError: If it is missing, no number, or not finite.
    """
    cell, place = row.cells[k], _place(row, title, name)
    if _is_missing(cell):
        raise DataError(f"{place}: the value is missing{f' ({cell})' if cell else ''}")
    number = read_number(cell, comma=notation.comma)
    if number is None:
        raise DataError(
            f"{place}: {shorten(repr(cell))} is not a number such as {notation.example}"
        )
    if not math.isfinite(number.value):
        raise DataError(f"{place}: {shorten(cell)} is not finite")
    return number


def _check_units(rows: Sequence[Row], numbers: Sequence[Number], title: str, name: str) -> None:
    """Refuse two currencies in a column, and per cent beside plain numbers."""
    first = next((number.unit for number in numbers if number.unit), "")
    for row, number in zip(rows, numbers, strict=True):
        if number.unit == first or (not number.unit and first not in "%‰"):
            continue
        unit = f"is in {number.unit}" if number.unit else f"has no {first}"
        raise DataError(
            f"{_place(row, title, name)}: the value {unit}, and others are in {first}: "
            "write all in one unit"
        )


def _rewritten(rows: Sequence[Row], k: int, numbers: Sequence[Number]) -> dict[str, str]:
    """Return a note with an example, if numbers are written in another way than programs do."""
    for row, number in zip(rows, numbers, strict=True):
        try:
            is_plain = float(row.cells[k]) == number.value
        except ValueError:
            is_plain = False
        if not is_plain:
            return {"numbers": f"{row.cells[k]} is read as {number.value:.15g}"}
    return {}


def _left_out(rows: Sequence[Row]) -> str:
    """Return a note on rows that hold no values of the series."""
    first = rows[0]
    shown = next((cell for cell in first.cells if cell), "")
    more = f" and {len(rows) - 1} more below it" if len(rows) > 1 else ""
    return f"line {first.line} ({shown}){more} left out: a total or a note, no further row"
