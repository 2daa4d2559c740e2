"""Put the rows of a table into the order of time, by the dates that name them."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from carousel.errors import DataError, shorten
from carousel.forecasting.dates import Dates, Moment, direction, join_dates, read_dates, read_years
from carousel.forecasting.numbers import is_number
from carousel.forecasting.rows import Row

Order = Literal["auto", "file", "reverse"]  # as the dates say; as the rows stand; the last first

YEAR_NAMES = {"year", "jahr", "année", "annee", "año", "anno", "jaar", "ano"}
MONTH_NAMES = {"month", "monat", "mois", "mes", "mese", "maand", "mês"}
DAY_NAMES = {"day", "tag", "jour", "día", "dia", "giorno", "dag"}
_TOTALS = (
    *("total", "grand total", "sum", "average", "mean", "summe", "gesamt", "mittelwert"),
    *("durchschnitt", "totale", "somme", "moyenne", "suma", "promedio", "media", "totaal"),
)


class Time(NamedTuple):
    """The columns of a table that date its rows.

    Attributes:
        columns: From 0; together they hold the dates.
        dates: One for each row of the body.
    """

    columns: tuple[int, ...]
    dates: Dates


class Ordered(NamedTuple):
    """The rows in the order of time.

    Attributes:
        rows: Those that hold values.
        order: "file", or how the rows were rearranged.
        notes: What was done, by topic.
    """

    rows: list[Row]
    order: Literal["file", "reversed", "sorted"]
    notes: dict[str, str]


def find_time(rows: Sequence[Row], names: Sequence[str], value: int | None = None) -> Time | None:
    """Return which columns hold the dates of the rows, or None.

    Args:
        rows: Of the body.
        names: Of the columns; empty where there is no header.
        value: The column of the values, which holds no dates.
    """
    if not rows:
        return None
    width = len(rows[0].cells)
    lower = [name.casefold() for name in names] or [""] * width
    cells = [[row.cells[k] for row in rows] for k in range(width)]
    if (joined := _several(lower, cells)) and value not in joined.columns:
        return joined
    for k in range(width):
        if k == value:
            continue
        if (dates := read_dates(cells[k])) is None:
            continue
        if None not in dates.moments or not all(map(is_number, cells[k])):
            return Time((k,), dates)
    for k in range(width):
        is_named = lower[k] in YEAR_NAMES
        if k == value or not (is_named or (k == 0 and width > 1 and is_counting(cells[k]))):
            continue
        if dates := read_years(cells[k]):
            return Time((k,), dates)
    return None


def is_counting(cells: Sequence[str]) -> bool:
    """Return whether cells are whole numbers of equal distances, as the numbers of rows are."""
    if len(cells) < 3 or not all(map(_is_short_number, cells)):
        return False
    steps = {int(after) - int(before) for before, after in pairwise(cells)}
    return len(steps) == 1 and 0 not in steps


def _is_short_number(cell: str) -> bool:
    """Return whether a cell is a whole number of at most 18 digits: nothing counts further."""
    return cell.isascii() and cell.isdigit() and len(cell) <= 18


def split_footer(rows: list[Row], time: Time | None, value: int) -> tuple[list[Row], list[Row]]:
    """Return the rows of values, and those below them that are totals or notes."""
    count = len(rows)
    if time is not None:
        while count and time.dates.moments[count - 1] is None:
            count -= 1
    elif value != 0:
        while count > 1 and _is_total(rows[count - 1].cells[0]):
            count -= 1
    return rows[:count], rows[count:]


def order_rows(
    rows: list[Row], time: Time | None, names: Sequence[str], order: Order, file: str
) -> Ordered:
    """Return the rows from the oldest to the newest, and what was done for it.

    Args:
        rows: Of the body, without a footer.
        time: Their dates, or None.
        names: Of the columns.
        order: What the dates decide: "auto"; else they decide nothing.
        file: Its name, for messages.

    Raises:
        DataError: If a row in the middle has no date, or dates return to earlier ones.
    """
    if order == "reverse":
        return Ordered(rows[::-1], "reversed", {})
    if order == "file" or time is None:
        return Ordered(rows, "file", _fall_of_numbers(rows, names) if order == "auto" else {})
    title = " and ".join(_title(names, k) for k in time.columns)
    label = _labels(rows, time.columns)
    moments = _all_present(rows, time, title, label, file)
    sense = direction(moments)
    result, kind, notes = rows, "file", dict[str, str]()
    first, last = f"{label[0]} on line {rows[0].line}", f"{label[-1]} on line {rows[-1].line}"
    if sense < 0:
        result, kind, moments = rows[::-1], "reversed", moments[::-1]
        notes["order"] = (
            f"the newest row stands first in {file} ({title}: {first}, {last}), so the rows are "
            "taken in reverse; --order file takes them as they stand"
        )
    elif sense == 0 and len(set(moments)) > 1:
        back = next(k for k in range(1, len(rows)) if moments[k] < moments[k - 1])
        place = f"line {rows[back].line} of {file}, {title}: {label[back]} stands after"
        if not time.dates.is_certain:
            notes["order"] = (
                f"{place} {label[back - 1]}, as far as these dates can be read; "
                "the rows are taken as they stand"
            )
            return Ordered(rows, "file", notes)
        if len(set(moments)) < len(moments):
            raise DataError(
                f"{place} {label[back - 1]}, and dates repeat: if there are several series below "
                "one another, keep the rows of one; --order file takes the rows as they stand"
            )
        ranks = sorted(range(len(rows)), key=moments.__getitem__)
        result, kind = [rows[k] for k in ranks], "sorted"
        moments = [moments[k] for k in ranks]
        notes["order"] = (
            f"{place} {label[back - 1]}, so the rows are sorted by date; "
            "--order file takes them as they stand"
        )
    notes |= _spacing(result, moments, _labels(result, time.columns), title)
    return Ordered(result, kind, notes)  # type: ignore[arg-type]


def _several(names: Sequence[str], cells: Sequence[Sequence[str]]) -> Time | None:
    """Return dates whose year and month, or day, stand in columns of these names."""
    places = [
        next((k for k, name in enumerate(names) if name in wanted), None)
        for wanted in (YEAR_NAMES, MONTH_NAMES, DAY_NAMES)
    ]
    year, month, day = places
    if year is None or month is None:
        return None
    days = cells[day] if day is not None else ["1"] * len(cells[year])
    if dates := join_dates(cells[year], cells[month], days):
        return Time(tuple(k for k in places if k is not None), dates)
    if day is not None and (dates := join_dates(cells[year], cells[month], ["1"] * len(days))):
        return Time((year, month), dates)
    return None


def _labels(rows: Sequence[Row], columns: Sequence[int]) -> list[str]:
    return [shorten("-".join(row.cells[k] for k in columns)) for row in rows]


def _all_present(
    rows: Sequence[Row], time: Time, title: str, label: Sequence[str], file: str
) -> list[Moment]:
    """Return the dates, or refuse the first row that has none."""
    moments = []
    for row, moment, text in zip(rows, time.dates.moments, label, strict=False):
        if moment is None:
            raise DataError(
                f"line {row.line} of {file}, {title}: {text!r} is no date, as the other rows have: "
                "mend or delete the row; --order file takes the rows as they stand"
            )
        moments.append(moment)
    return moments


def _fall_of_numbers(rows: Sequence[Row], names: Sequence[str]) -> dict[str, str]:
    """Return a note on rows that are numbered downwards."""
    first = [row.cells[0] for row in rows]
    if len(rows[0].cells) == 1 or not is_counting(first) or int(first[1]) > int(first[0]):
        return {}
    return {
        "order": f"{_title(names, 0)} falls from {first[0]} to {first[-1]}: if the newest "
        "row stands first, --order reverse is right"
    }


def _spacing(
    rows: Sequence[Row], moments: Sequence[Moment], label: Sequence[str], title: str
) -> dict[str, str]:
    """Return a note on dates that repeat, or are missing."""
    notes = {}
    same = [k for k in range(1, len(rows)) if moments[k] == moments[k - 1]]
    if same:
        k = same[0]
        notes["dates"] = (
            f"{_are(len(same), 'date', title)} that of the row before, the first "
            f"{label[k]} on line {rows[k].line}; each row is a step of the series"
        )
        return notes
    steps, unit = _steps(moments)
    if not steps:
        return notes
    usual, count = Counter(steps).most_common(1)[0]
    long = [k for k, step in enumerate(steps) if step > usual]
    if long and 2 * count > len(steps):
        k = long[0]
        notes["dates"] = (
            f"{_are(len(long), 'step', title)} longer than the usual {usual:g} "
            f"{unit}{'s' * (usual != 1)}, the first from {label[k]} to {label[k + 1]} "
            f"(line {rows[k + 1].line}); each row is a step of the series"
        )
    return notes


def _steps(moments: Sequence[Moment]) -> tuple[list[float], str]:
    """Return the steps between dates in the unit that makes them even, and its name."""
    spans = [(after - before).total_seconds() for before, after in pairwise(moments)]
    if not spans:
        return [], ""
    middle = sorted(spans)[len(spans) // 2]
    if middle >= 27 * 86_400:
        months = [12 * moment.year + moment.month for moment in moments]
        return [float(after - before) for before, after in pairwise(months)], "month"
    if middle >= 86_400 and all(moment.weekday() < 5 for moment in moments):
        days = np.array([moment.date() for moment in moments], "datetime64[D]")
        return np.busday_count(days[:-1], days[1:]).astype(float).tolist(), "working day"
    unit, name = (86_400, "day") if middle >= 86_400 else (60, "minute")
    return [span / unit for span in spans], name


def _are(count: int, noun: str, of: str) -> str:
    return f"{count:,} {noun}s of {of} are" if count > 1 else f"1 {noun} of {of} is"


def _title(names: Sequence[str], k: int) -> str:
    return shorten(names[k]) if names and names[k] else f"column {k + 1}"


def _is_total(label: str) -> bool:
    return label.casefold().strip(" :") in _TOTALS
