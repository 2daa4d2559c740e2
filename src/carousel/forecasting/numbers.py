"""Read numbers as spreadsheet programs write them, and tell which notation a column is in.

1234.5 may stand as 1,234.50 or 1.234,50, as 1'234.50 or 1 234,50, with a currency, in brackets if
it is negative. Which of two meanings "1,234" has is a matter of its column and its table.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from carousel.errors import DataError

Decimal = Literal["auto", "point", "comma"]

_SPACES = " \u00a0\u2007\u2009\u202f"  # no-break, figure, thin, and narrow no-break
_APOSTROPHES = "'’"
_CODES = "USD|EUR|GBP|JPY|CHF|CNY|INR|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|ZAR|KRW|RUB|TRY"
_CURRENCY = rf"(?:[A-Z]{{0,3}}[$€£¥₹₽₩₺₫₪฿₦₴]|{_CODES}|kr\.?|zł|Kč|Fr\.)"
_SPACE = f"[{_SPACES}]*"
_CELL = re.compile(
    rf"(?P<open>\()?{_SPACE}(?P<sign>[-+−–])?{_SPACE}(?P<before>{_CURRENCY})?{_SPACE}"
    rf"(?P<inner>[-+−–])?(?P<digits>[0-9.,{_APOSTROPHES}{_SPACES}]*[0-9.,](?:[eE][-+]?[0-9]+)?)"
    rf"{_SPACE}(?P<after>{_CURRENCY}|[%‰])?{_SPACE}(?P<last>-)?(?P<close>\))?"
)


def _digits(decimal: str, thousands: str) -> re.Pattern[str]:
    """Return what matches digits with or without marks between groups of three of them."""
    point, marks = re.escape(decimal), f"[{re.escape(thousands)}{_APOSTROPHES}{_SPACES}]"
    groups = rf"[1-9][0-9]{{0,2}}(?P<mark>{marks})[0-9]{{3}}(?:(?P=mark)[0-9]{{3}})*"
    indian = rf"[1-9][0-9]?(?:{re.escape(thousands)}[0-9]{{2}})+{re.escape(thousands)}[0-9]{{3}}"
    return re.compile(
        rf"(?:(?P<whole>{groups}|{indian}|[0-9]+)(?:{point}(?P<part>[0-9]*))?"
        rf"|{point}(?P<only>[0-9]+))(?P<exponent>[eE][-+]?[0-9]+)?"
    )


_POINT, _COMMA = _digits(".", ","), _digits(",", ".")
_MARKS = re.compile(rf"[.,{_APOSTROPHES}{_SPACES}]")
# Three digits behind the only mark: a group, or three decimals.
_UNCLEAR = re.compile(r"[^0-9.,]*[1-9][0-9]{0,2}(?P<mark>[.,])[0-9]{3}(?![0-9.,]).*")
_GROUPED = re.compile(r".*[0-9]\.[0-9]{3}(?:\.[0-9]{3}|,[0-9]).*")  # 1.234.567 or 1.234,5
_WHOLE = re.compile(r"[^0-9.,]*[1-9][0-9]{0,2}[^0-9.,]*")


class Number(NamedTuple):
    """The number in a cell.

    Attributes:
        value: The number; it may be infinite or NaN.
        unit: "%", a currency as it is written, or nothing.
    """

    value: float
    unit: str = ""


@dataclass(frozen=True)
class Notation:
    """How a column writes its numbers.

    Attributes:
        comma: Whether decimals follow a comma.
        is_sure: Whether no other notation gives other values.
    """

    comma: bool = False
    is_sure: bool = True

    @property
    def example(self) -> str:
        """A number as such a column would have it."""
        return "1234,5" if self.comma else "1234.5"


def read_number(cell: str, *, comma: bool = False) -> Number | None:
    """Return what a cell says; None where it is no number.

    Args:
        cell: Without white space around it.
        comma: Whether decimals follow a comma; else a point.
    """
    if (plain := _plain(cell)) is not None and not (comma and "." in cell):
        return Number(plain)
    return _written_number(cell, comma)


@lru_cache(maxsize=65_536)  # a column is read under both notations, and again for its values
def _written_number(cell: str, comma: bool) -> Number | None:
    """Return the number of a cell in which more stands than programs write, or None."""
    if ":" in cell or "/" in cell:  # a date or a time, without a long look
        return None
    if (match := _CELL.fullmatch(cell)) is None:
        return None
    parts = match.groupdict(default="")
    signs = [parts[name] for name in ("sign", "inner", "last") if parts[name]]
    is_bracketed = bool(parts["open"] and parts["close"])
    if len(signs) + is_bracketed > 1 or bool(parts["open"]) != bool(parts["close"]):
        return None
    if parts["before"] and parts["after"]:
        return None
    digits = (_COMMA if comma else _POINT).fullmatch(parts["digits"].strip())
    if digits is None:
        return None
    whole = _MARKS.sub("", digits["whole"] or "0")
    value = float(f"{whole}.{digits['part'] or digits['only'] or '0'}{digits['exponent'] or ''}")
    is_negative = is_bracketed or (bool(signs) and signs[0] != "+")
    return Number(-value if is_negative else value, parts["before"] or parts["after"])


def is_number(cell: str) -> bool:
    """Return whether a cell is a number in one notation or the other."""
    if _plain(cell) is not None:
        return True
    return (_written_number(cell, False) or _written_number(cell, True)) is not None


def find_notation(
    cells: Sequence[str], others: Sequence[Sequence[str]], delimiter: str
) -> Notation:
    """Return how a column writes its numbers.

    Args:
        cells: Of the column, those that hold something.
        others: The cells of the table's other columns of numbers.
        delimiter: Between the columns; where it is a comma, decimals seldom follow one.
    """
    if all(map(_is_plain, cells)) and not any(map(_UNCLEAR.fullmatch, cells)):
        return Notation()
    is_clear, comma = _vote(cells, delimiter)
    if is_clear:
        return Notation(comma)
    if not any(_UNCLEAR.fullmatch(cell) for cell in cells):
        return Notation()
    votes = {vote for each in others for clear, vote in [_vote(each, delimiter, True)] if clear}
    if len(votes) == 1:
        return Notation(votes.pop())
    unclear = [match["mark"] for cell in cells if (match := _UNCLEAR.fullmatch(cell))]
    if unclear[0] == ",":  # 1,234
        return Notation(comma=False, is_sure=delimiter == ",")
    # 1.234: three decimals, unless whole numbers below 1000 stand among them.
    return Notation(comma=False, is_sure=not any(map(_WHOLE.fullmatch, cells)))


def check_notation(notation: Notation, cells: Sequence[tuple[str, str]]) -> None:
    """Refuse a column whose numbers have two meanings.

    Args:
        notation: Of the column.
        cells: Of the column, each with its place in words.

    Raises:
        DataError: If it is so; the message has the first such number and both its meanings.
    """
    if notation.is_sure:
        return
    place, cell = next((place, cell) for place, cell in cells if _UNCLEAR.fullmatch(cell))
    first, second = read_number(cell), read_number(cell, comma=True)
    assert first is not None, "a number of groups of three digits is one in both notations"
    assert second is not None, "a number of groups of three digits is one in both notations"
    raise DataError(
        f"{place}: {cell!r} may be {first.value:.10g} or {second.value:.10g}: "
        "--decimal point says the first, --decimal comma the second"
    )


def _vote(cells: Sequence[str], delimiter: str, needs_mark: bool = False) -> tuple[bool, bool]:
    """Return whether only one notation fits, and whether it is that of the comma."""
    if needs_mark and not any("." in cell or "," in cell for cell in cells):
        return False, False
    points = [read_number(cell) for cell in cells]
    commas = [read_number(cell, comma=True) for cell in cells]
    if points == commas:
        return not needs_mark, False
    count_points = sum(number is not None for number in points)
    count_commas = sum(number is not None for number in commas)
    if count_points == count_commas:
        return False, False
    if count_commas > count_points and delimiter == ",":
        # A single 1,5 among numbers without a comma is a slip.
        slips = sum(number is None for number in points)
        return True, 2 * slips >= len(cells) or any(map(_GROUPED.fullmatch, cells))
    return True, count_commas > count_points


def _is_plain(cell: str) -> bool:
    return _plain(cell) is not None


def _plain(cell: str) -> float | None:
    """Return a number as programs write it."""
    try:
        return float(cell) if "_" not in cell else None  # Python reads 1_000
    except ValueError:
        return None
