"""Read the dates that name the rows of a table, so that their order can be checked."""

import datetime
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

Moment = datetime.datetime

# English, German, French, Spanish, Italian, Dutch; the first letters of a name decide.
_MONTHS = (
    ("jan", "jän", "ene", "gen"),
    ("feb", "fév", "fev"),
    ("mar", "mär", "mrz", "maa"),
    ("apr", "avr", "abr"),
    ("may", "mai", "mag", "mei"),
    ("jun", "juin", "giu"),
    ("jul", "juil", "lug"),
    ("aug", "aoû", "aou", "ago"),
    ("sep", "set"),
    ("oct", "okt", "ott"),
    ("nov",),
    ("dec", "dez", "déc", "dic"),
)
_MONTH_OF = {name: k for k, names in enumerate(_MONTHS, start=1) for name in names}
_TIME = (
    r"(?:(?:T|,?\s+)(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,]\d+)?)?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?:Z|UTC|GMT|(?P<offset>[+-]\d\d:?\d\d))?)?"
)
_WEEKDAY = r"(?:[^\W\d_]{2,10}\.?,?\s+)?"
_YEAR = r"(?P<year>(?:1[5-9]|2[01])\d\d)"
_SHORT = r"(?P<year>(?:1[5-9]|2[01])\d\d|'?\d\d)"
_NAME = r"(?P<name>[^\W\d_]{3,10})\.?"
_ORDERS = {
    "year first": rf"{_YEAR}(?P<sep>[-/.])(?P<month>\d\d?)(?:(?P=sep)(?P<day>\d\d?))?",
    "digits": rf"{_YEAR}(?P<month>\d\d)(?P<day>\d\d)",
    "quarter": rf"{_YEAR}[-/. ]?[Qq](?P<quarter>[1-4])",
    "quarter first": rf"[Qq](?P<quarter>[1-4])[-/. ]?{_YEAR}",
    "week": rf"{_YEAR}[-/ ]?[Ww](?P<week>\d\d?)",
    "day first": rf"(?P<day>\d\d?)(?P<sep>[-/.])(?P<month>\d\d?)(?P=sep){_SHORT}",
    "month first": rf"(?P<month>\d\d?)(?P<sep>[-/.])(?P<day>\d\d?)(?P=sep){_SHORT}",
    "month": rf"(?P<month>\d\d?)[-/.]{_YEAR}",
    "day and name": rf"(?P<day>\d\d?)\.?[-/. ]\s*{_NAME}[-/. ,]*{_SHORT}",
    "name and day": rf"{_NAME}[-/ ]\s*(?P<day>\d\d?)(?:st|nd|rd|th)?,?[-/ ]\s*{_YEAR}",
    "name": rf"{_NAME}[-/. ]\s*{_SHORT}",
    "year and name": rf"{_YEAR}[-/. ]\s*{_NAME}",
    "name and day alone": rf"{_NAME}[-/. ]\s*(?P<day>\d\d?)",  # all of one year
}
_PATTERNS = {
    order: re.compile(("" if order == "digits" else _WEEKDAY) + pattern + _TIME)
    for order, pattern in _ORDERS.items()
}
_SAMPLE = 50  # cells that show which formats are possible
_LONGEST = 100  # characters of a year, a month or a day in a column of its own
_YEARS_ALONE = re.compile(_YEAR)


class Dates(NamedTuple):
    """The dates of a column.

    Attributes:
        moments: One for each cell; None where it is no date.
        is_certain: Whether they cannot be read in another way.
    """

    moments: list[Moment | None]
    is_certain: bool


def read_dates(cells: Sequence[str]) -> Dates | None:
    """Return the dates of a column, or None where it holds no more dates than other things.

    A column has one format. Of 03/04/2024, which may be a day in March or in April, the reading
    counts in which most cells are dates, and then that in which they rise or fall.
    """
    sample = cells[:_SAMPLE]
    readings: list[Dates] = []
    for order in _PATTERNS:
        if 2 * sum(_read(cell, order) is not None for cell in sample) <= len(sample):
            continue
        moments = [_read(cell, order) for cell in cells]
        if 2 * sum(moment is not None for moment in moments) > len(cells):
            readings.append(Dates(moments, True))
    if not readings:
        return None
    best = max(map(_count, readings))
    full = [reading for reading in readings if _count(reading) == best]
    chosen = next((reading for reading in full if direction(_present(reading))), full[0])
    is_certain = all(reading.moments == chosen.moments for reading in full)
    return chosen._replace(is_certain=is_certain)


def read_years(cells: Sequence[str]) -> Dates | None:
    """Return the years of a column of nothing but years, or None."""
    if not all(map(_YEARS_ALONE.fullmatch, cells)):
        return None
    return Dates([Moment(int(cell), 1, 1) for cell in cells], True)


def join_dates(year: Sequence[str], month: Sequence[str], day: Sequence[str]) -> Dates | None:
    """Return dates that stand in several columns; a month may be a number or a name."""
    moments: list[Moment | None] = []
    for each in zip(year, month, day, strict=True):
        moments.append(_moment(*each))
    return Dates(moments, True) if None not in moments else None


def direction(moments: Sequence[Moment]) -> int:
    """Return 1 if moments rise, -1 if they fall, equal ones allowed; 0 if neither or all equal.

    One step of at most an hour the other way, once in some thousand rows, is the end of summer
    time.
    """
    steps = [after - before for before, after in pairwise(moments)]
    ups = [step for step in steps if step > _ZERO]
    downs = [-step for step in steps if step < _ZERO]
    for there, back, sign in ((ups, downs, 1), (downs, ups, -1)):
        if there and (not back or (max(back) <= _HOUR and len(back) <= 1 + len(steps) // 4000)):
            return sign
    return 0


_ZERO, _HOUR = datetime.timedelta(0), datetime.timedelta(hours=1)


def _present(dates: Dates) -> list[Moment]:
    return [moment for moment in dates.moments if moment is not None]


def _count(dates: Dates) -> int:
    return len(_present(dates))


@lru_cache(maxsize=65_536)
def _read(cell: str, order: str) -> Moment | None:
    match = _PATTERNS[order].fullmatch(cell)
    if match is None:
        return None
    parts = match.groupdict(default="")
    if parts.get("week"):
        return _valid(lambda: _week(int(parts["year"]), int(parts["week"])))
    if parts.get("quarter"):
        month = str(3 * int(parts["quarter"]) - 2)
    else:
        month = parts.get("name") or parts["month"]
    year = parts.get("year", "2000").lstrip("'")
    date = _moment(year, month, parts.get("day") or "1")
    return date and _with_time(date, parts)


def _week(year: int, week: int) -> Moment:
    return Moment.combine(datetime.date.fromisocalendar(year, week, 1), datetime.time())


def _with_time(date: Moment, parts: dict[str, str]) -> Moment | None:
    if not parts["hour"]:
        return date
    hour = int(parts["hour"])
    if half := parts["half"].lower():
        hour = hour % 12 + (12 if half.startswith("p") else 0)
    minute, second = int(parts["minute"]), min(int(parts["second"] or 0), 59)
    ahead = datetime.timedelta(0)  # of UTC
    if offset := parts["offset"].replace(":", ""):
        ahead = datetime.timedelta(hours=int(offset[:3]), minutes=int(offset[0] + offset[3:]))
    return _valid(lambda: date.replace(hour=hour, minute=minute, second=second) - ahead)


def _moment(year: str, month: str, day: str) -> Moment | None:
    if max(len(year), len(month), len(day)) > _LONGEST:
        return None
    number = int(month) if month.isdecimal() else _month(month)
    if number is None or not (year.isdecimal() and day.isdecimal()):
        return None
    full = int(year)
    if len(year) == 2:  # as Excel and Python read it
        full += 2000 if full < 69 else 1900
    return _valid(lambda: Moment(full, number, int(day)))


def _month(name: str) -> int | None:
    name = name.casefold()
    return _MONTH_OF.get(name[:4]) or _MONTH_OF.get(name[:3])


def _valid(make: Callable[[], Moment]) -> Moment | None:
    try:
        return make()
    except (ValueError, OverflowError):
        return None
