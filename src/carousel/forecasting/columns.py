"""Separate the header of a table from its rows, and choose the column."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from carousel.errors import ConfigError, DataError, shorten
from carousel.forecasting.dates import read_dates
from carousel.forecasting.order import DAY_NAMES, MONTH_NAMES, YEAR_NAMES, find_time, is_counting
from carousel.forecasting.rows import Row, numeric_columns, some

_DATE_NAMES = {"date", "datum", "fecha", "data", "time", "timestamp", "datetime", "period"}
_COUNTING_NAMES = {
    *(YEAR_NAMES | MONTH_NAMES | DAY_NAMES | _DATE_NAMES),
    *("quarter", "quartal", "week", "woche", "kw", "hour", "minute", "second", "unix"),
    *("index", "idx", "id", "no", "no.", "nr", "nr.", "#", "row", "unnamed: 0", "epoch"),
}
_MOST_HEADERS = 3
_MOST_NAMES = 6


@dataclass(frozen=True)
class Columns:
    """The columns of a table.

    Attributes:
        names: From the header; empty where there is none.
        body: The rows below it.
        is_number: Whether a cell is a number.
    """

    names: list[str]
    body: list[Row]
    is_number: Callable[[str], bool]

    @cached_property
    def numeric(self) -> list[int]:
        """The columns that hold more numbers than other things."""
        return numeric_columns(self.body, self.is_number)

    @property
    def width(self) -> int:
        """How many columns there are."""
        return len(self.body[0].cells)

    def title(self, k: int) -> str:
        """Return what to call a column."""
        name, place = self.names[k] if self.names else "", f"column {k + 1}"
        if self.names.count(name) > 1 and name:
            return f"{shorten(name)} ({place})"
        return shorten(name) or place

    def cells(self, k: int) -> list[str]:
        """Return the cells of a column."""
        return [row.cells[k] for row in self.body]


def read_header(
    rows: list[Row], is_number: Callable[[str], bool], is_missing: Callable[[str], bool]
) -> tuple[list[str], list[Row]]:
    """Return the names of the columns, none where there is no header, and the rows below it.

    A header has a word above a column of numbers, or above one of dates; or it is a line of years.
    A second and a third line belong to it, such as that of the units, where dates begin below them.
    """
    if len(rows) < 2:
        return [], rows
    body = some(rows[1:])
    numeric = numeric_columns(body, is_number)
    width = len(rows[0].cells)
    dated = [k for k in range(width) if k not in numeric and _holds_dates(body, k)]

    def is_heading(row: Row, *, needs_date: bool) -> bool:
        above = [row.cells[k] for k in numeric]
        words = [cell for cell in above if not is_missing(cell) and not is_number(cell)]
        no_date = [k for k in dated if row.cells[k] and read_dates([row.cells[k]]) is None]
        if needs_date:  # of a line below the first, no value may be lost
            is_dated = any(read_dates([row.cells[k]]) for k in dated)
            return bool(dated and words) and not is_dated and not any(map(is_number, above))
        return bool(words or no_date) or _is_line_of_years(row, numeric)

    if not is_heading(rows[0], needs_date=False):
        return [], rows
    count = 1
    while count < min(_MOST_HEADERS, len(rows) - 1) and is_heading(rows[count], needs_date=True):
        count += 1
    names = [next((row.cells[k] for row in rows[:count] if row.cells[k]), "") for k in range(width)]
    return names, rows[count:]


def choose_column(columns: Columns, column: str | None, file: str) -> tuple[int, dict[str, str]]:
    """Return which column is meant, from 0, and notes on the choice.

    Args:
        columns: Of the table.
        column: A name, or a number from 1; None: the last of numbers that does not count the rows.
        file: Its name, for messages.

    Raises:
        ConfigError: If there is no such column.
        DataError: If none is named and there is none of numbers.
    """
    if column is not None:
        return _named(columns, column, file), {}
    if not columns.numeric:
        raise DataError(f"{file} has no column of numbers{_like_numbers(columns)}")
    time = find_time(some(columns.body), columns.names)
    of_time = time.columns if time else ()
    values = [k for k in columns.numeric if k not in of_time and not _counts_by_name(columns, k)]
    values = [k for k in values if not is_counting(columns.cells(k))] or [
        k for k in values if k > 0 or columns.width == 1
    ]
    if not values:
        titles = shorten(", ".join(columns.title(k) for k in columns.numeric))
        raise DataError(
            f"{file} has no column of numbers but {titles}, which counts the rows"
            f"{_like_numbers(columns)}; --column NAME forecasts a column all the same"
        )
    chosen, notes = values[-1], {}
    passed = [
        columns.title(k) for k in range(chosen + 1, columns.width) if _is_passed_over(columns, k)
    ]
    if len(values) > 1 or passed:
        names = [columns.title(k) for k in values]
        shown = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
        notes["column"] = (
            columns.title(chosen)
            + (f", the last of the columns of numbers ({shorten(shown)})" if len(names) > 1 else "")
            + (f", not {shorten(' and '.join(passed))}" if passed else "")
            + "; --column names another"
        )
    return chosen, notes


def _named(columns: Columns, column: str, file: str) -> int:
    wanted = unicodedata.normalize("NFC", column)
    names = [unicodedata.normalize("NFC", name) for name in columns.names]
    if (count := names.count(wanted)) > 1:
        raise ConfigError(f"{file} has {count} columns named {column}: say its number")
    if wanted in names:
        return names.index(wanted)
    if column.isdecimal() and len(column) < 10 and 1 <= int(column) <= columns.width:
        return int(column) - 1
    there = f"{shorten(', '.join(names))} or " if names else ""
    raise ConfigError(f"{file} has no column {column!r}; there are {there}1 to {columns.width}")


def _holds_dates(rows: Sequence[Row], k: int) -> bool:
    return read_dates([row.cells[k] for row in rows]) is not None


def _is_line_of_years(row: Row, numeric: Sequence[int]) -> bool:
    """Return whether a word begins the line, and years that follow one another are its numbers."""
    first, cells = row.cells[0], [row.cells[k] for k in numeric]
    if 0 in numeric or first.isdecimal() or not (first.isalpha() or not first):
        return False
    is_year = all(len(cell) == 4 and cell[:2] in ("18", "19", "20", "21") for cell in cells)
    if not (cells and is_year and all(cell.isdecimal() for cell in cells)):
        return False
    steps = {int(after) - int(before) for before, after in pairwise(cells)}
    return steps == {1} or (not steps and first.casefold() in _COUNTING_NAMES)


def _counts_by_name(columns: Columns, k: int) -> bool:
    """Return whether a column of whole numbers is called as what counts rows is."""
    if columns.width == 1 or not columns.names:
        return False
    is_called = columns.names[k].casefold() in _COUNTING_NAMES or (k == 0 and not columns.names[k])
    return is_called and all(cell.isdecimal() or not cell for cell in columns.cells(k))


def _is_passed_over(columns: Columns, k: int) -> bool:
    """Return whether a column that is not taken holds numbers, or seems to."""
    if k in columns.numeric:
        return True
    cells = [cell for cell in columns.cells(k) if cell]
    digits = sum(any(c.isdigit() for c in cell[:4]) for cell in cells)
    return bool(cells) and 2 * digits > len(cells) and read_dates(cells) is None


def _like_numbers(columns: Columns) -> str:
    """Return what to say of a column that seems to hold numbers, and does not."""
    for k in reversed(range(columns.width)):
        if k not in columns.numeric and _is_passed_over(columns, k):
            cell = next(cell for cell in columns.cells(k) if any(c.isdigit() for c in cell[:4]))
            return f": {columns.title(k)} has cells such as {shorten(repr(cell))}"
    return ""
