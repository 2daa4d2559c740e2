"""Tables as spreadsheets and exports write them: understood and told, or refused by the place."""

import datetime

import pytest

from carousel.errors import ConfigError, DataError
from carousel.forecasting.numbers import read_number
from carousel.forecasting.table import Series, parse_series

VALUES = [10.0 + k * k % 7 for k in range(40)]
DAY = datetime.timedelta(days=1)
START = datetime.date(2024, 1, 5)


def read(text: str | bytes, column: str | None = None, **how: str) -> Series:
    data = text.encode() if isinstance(text, str) else text
    return parse_series(data, "x.csv", column=column, **how)  # type: ignore[arg-type]


def refusal(text: str | bytes, column: str | None = None, **how: str) -> str:
    with pytest.raises((DataError, ConfigError)) as caught:
        read(text, column, **how)
    return str(caught.value)


def table(labels: list[str], header: str = "Date,Close") -> str:
    rows = [f'"{label}",{value:g}' for label, value in zip(labels, VALUES, strict=False)]
    return "\n".join([header, *rows, ""])


def days(count: int = 20, format: str = "%Y-%m-%d", start: datetime.date = START) -> list[str]:
    return [(start + k * DAY).strftime(format) for k in range(count)]


def months(count: int, format: str) -> list[str]:
    return [datetime.date(2020 + k // 12, 1 + k % 12, 1).strftime(format) for k in range(count)]


DATES = {
    format: days(format=format)
    for format in (
        *("%Y-%m-%d", "%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y", "%m/%d/%y", "%d.%m.%Y", "%d.%m.%y"),
        *("%d-%b-%y", "%d %B %Y", "%B %d, %Y", "%A, %d. %B %Y", "%Y%m%d", "%b-%d"),
        *("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M", "%m/%d/%Y %I:%M %p"),
    )
}
DATES |= {
    format: months(30, format)
    for format in ("%Y-%m", "%b %Y", "%b-%y", "%m/%Y", "%m.%Y", "%B %Y", "%Y %B")
}
DATES |= {
    "quarters": [f"{2020 + k // 4}-Q{1 + k % 4}" for k in range(20)],
    "quarters first": [f"Q{1 + k % 4} {2020 + k // 4}" for k in range(20)],
    "weeks": [f"2024-W{k:02d}" for k in range(1, 30)],
    "years": [str(2000 + k) for k in range(20)],
    "German": ["Jan. 2024", "Feb. 2024", "März 2024", "April 2024", "Mai 2024", "Okt. 2024"],
    "French": ["janv. 2024", "févr. 2024", "mars 2024", "avril 2024", "juin 2024", "août 2024"],
    "days that may be months": ["01/02/2024", "02/02/2024", "03/02/2024", "04/02/2024"],
    "months that may be days": ["01/11/2024", "01/12/2024", "02/01/2024", "02/02/2024"],
    "two centuries": ["Nov-99", "Dec-99", "Jan-00", "Feb-00", "Mar-00"],
    "across years, month first": ["12/30/2023", "12/31/2023", "01/01/2024", "01/02/2024"],
    "hours": [f"2024-03-0{1 + k // 24} {k % 24}:30" for k in range(30)],
}


@pytest.mark.parametrize("name", DATES)
def test_the_oldest_row_comes_first_whatever_the_file_begins_with(name: str) -> None:
    labels = DATES[name]
    header = "Year,Close" if name == "years" else "Date,Close"
    count = len(labels)
    rising, falling = read(table(labels, header)), read(table(labels[::-1], header))
    assert (rising.order, "order" in rising.notes) == ("file", False)
    assert rising.labels == falling.labels == tuple(labels)
    assert rising.values.tolist() == VALUES[:count]
    assert falling.values.tolist() == VALUES[:count][::-1]
    assert falling.lines.tolist() == list(range(count + 1, 1, -1))
    assert falling.order == "reversed"
    assert falling.notes["order"].startswith("the newest row stands first in x.csv (")


def test_the_order_may_be_named() -> None:
    text = table(days()[::-1])
    assert read(text, order="file").values.tolist() == VALUES[:20]
    assert read(text, order="file").notes == {}
    reverse = read("n\n1\n2\n4\n", order="reverse")
    assert (reverse.values.tolist(), reverse.order) == ([4, 2, 1], "reversed")


def test_distinct_dates_without_an_order_are_sorted() -> None:
    as_texts = sorted(f"{month}/{day}/2024" for month in (1, 2) for day in range(1, 16))
    series = read(table(as_texts))
    assert series.order == "sorted"
    assert series.labels[:3] == ("1/1/2024", "1/2/2024", "1/3/2024")
    assert series.values.tolist()[1] == VALUES[as_texts.index("1/2/2024")]
    assert series.notes["order"] == (
        "line 9 of x.csv, Date: 1/2/2024 stands after 1/15/2024, so the rows are sorted by date; "
        "--order file takes them as they stand"
    )


def test_dates_that_can_be_read_in_two_ways_are_not_sorted() -> None:
    labels = ["05/01/2024", "01/02/2024", "03/04/2024", "02/06/2024", "07/05/2024"]
    series = read(table(labels))
    assert (series.labels, series.order) == (tuple(labels), "file")
    assert "as far as these dates can be read" in series.notes["order"]


def test_several_series_below_one_another_are_refused() -> None:
    years = [str(2000 + k % 10) for k in range(20)]
    assert refusal(table(years, "Year,Sales")) == (
        "line 12 of x.csv, Year: 2000 stands after 2009, and dates repeat: if there are several "
        "series below one another, keep the rows of one; --order file takes the rows as they stand"
    )
    assert read(table(years, "Year,Sales"), order="file").values.tolist() == VALUES[:20]


def test_repeated_and_missing_dates_are_told() -> None:
    twice = read(table([day for day in days(5) for _ in range(2)]))
    assert twice.values.tolist() == VALUES[:10]
    assert twice.notes["dates"].startswith(
        "5 dates of Date are that of the row before, the first 2024-01-05 on line 3;"
    )
    gap = read(table(days(5) + days(9, start=datetime.date(2024, 1, 20))))
    assert gap.notes["dates"].startswith(
        "1 step of Date is longer than the usual 1 day, the first from 2024-01-09 to 2024-01-20 "
        "(line 7);"
    )
    month = months(30, "%Y-%m")
    assert read(table(month)).notes == {}
    assert (
        "usual 1 month, the first from 2020-04 to 2020-06 (line 6)"
        in read(table(month[:4] + month[5:])).notes["dates"]
    )


def test_weekends_and_the_lengths_of_months_are_no_gaps() -> None:
    working = [day for day in days(30) if datetime.date.fromisoformat(day).weekday() < 5]
    assert read(table(working)).notes == {}
    ends = [str(datetime.date(2020 + k // 12, 1 + k % 12, 1) - DAY) for k in range(1, 30)]
    assert read(table(ends)).notes == {}


def test_the_end_of_summer_time_is_no_disorder() -> None:
    clock = ["0:30", "1:00", "1:30", "2:00", "2:30", "2:00", "2:30", "3:00", "3:30", "4:00"]
    labels = [f"2024-10-27 {time}" for time in clock]
    for rows in (labels, labels[::-1]):
        assert read(table(rows)).labels == tuple(labels)


def test_dates_may_stand_in_several_columns() -> None:
    rows = [f"{2020 + k // 12},{1 + k % 12},{VALUES[k]:g}" for k in range(30)]
    for body in (rows, rows[::-1]):
        series = read("\n".join(["Year,Month,Sales", *body]))
        assert series.column == "Sales"
        assert series.labels[:2] == ("2020-1", "2020-2")
    assert series.values.tolist() == VALUES[:30]
    month = read("\n".join(["Year,Month,Sales", *rows]), "Month")
    assert month.values.tolist()[10:14] == [11, 12, 1, 2]
    assert month.labels[10:14] == ("2020", "2020", "2021", "2021")


@pytest.mark.parametrize(
    "text",
    [
        "Year,Sales\n2001,7\n2002,9\n2003,8\n",
        "Sales,Year\n7,2001\n9,2002\n8,2003\n",
        "Sales,Month\n7,1\n9,2\n8,1\n",
        "Sales,Date\n7,20240101\n9,20240102\n8,20240105\n",
        "Sales,Date\n7,01.2024\n9,02.2024\n8,03.2024\n",
        ",Sales\n0,7\n1,9\n2,8\n",
        "No.,Sales\n5,7\n7,9\n6,8\n",
    ],
)
def test_what_counts_the_rows_is_not_forecast_unless_it_is_named(text: str) -> None:
    series = read(text)
    assert (series.column, series.values.tolist()) == ("Sales", [7, 9, 8])
    if not text.startswith(("Year", ",", "No")):
        assert series.notes["column"].startswith("Sales, not ")
    if "Year" in text:
        assert read(text, "Year").values.tolist() == [2001, 2002, 2003]


def test_a_year_beside_cells_that_are_no_numbers_is_refused() -> None:
    assert refusal("Year,Sales\n2001,7 kg\n2002,9 kg\n2003,8 kg\n") == (
        "x.csv has no column of numbers but Year, which counts the rows: Sales has cells such as "
        "'7 kg'; --column NAME forecasts a column all the same"
    )


def test_rows_numbered_downwards_are_told() -> None:
    series = read("No,Sales\n9,7\n8,9\n7,8\n")
    assert series.values.tolist() == [7, 9, 8]
    assert series.notes["order"] == (
        "No falls from 9 to 7: if the newest row stands first, --order reverse is right"
    )


def test_which_of_several_columns_is_forecast_is_told() -> None:
    rows = "".join(f"{day},{k * k},{k % 3},1.{k}M\n" for k, day in enumerate(days(9)))
    series = read("Date,Open,Close,Vol.\n" + rows)
    assert series.notes["column"] == (
        "Close, the last of the columns of numbers (Open, Close), not Vol.; --column names another"
    )
    assert "column" not in read("Date,Open,Close,Vol.\n" + rows, "Open").notes
    sparse = "".join(f"{day},{k * k},{k if k % 3 == 0 else ''}\n" for k, day in enumerate(days(9)))
    assert read("Date,Open,Close\n" + sparse).notes["column"].startswith("Open, not Close;")


SEPARATED = "sep={mark}{end}date{mark}value{end}2024-01-01{mark}1{end}2024-01-02{mark}2{end}"


@pytest.mark.parametrize("mark", [";", ",", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_first_line_that_names_the_separator_is_obeyed(
    mark: str, end: str, encoding: str
) -> None:
    text = SEPARATED.format(mark=mark, end=end)
    for first in (text, text.replace(f"sep={mark}", f'"SEP={mark}"', 1)):
        series = read(first.encode(encoding))
        assert (series.column, series.values.tolist()) == ("value", [1, 2])
        assert series.lines.tolist() == [3, 4]
        assert series.labels == ("2024-01-01", "2024-01-02")
    assert refusal(f"sep={mark}\na{mark}b\n1{mark}x\n2{mark}3\n3{mark}4\n").startswith(
        "line 3 of x.csv, b: 'x' is not a number"
    )


@pytest.mark.parametrize(
    ("cell", "comma", "value"),
    [
        ("1,234.50", False, 1234.5), ("1.234,50", True, 1234.5), ("1,234,567", False, 1234567),
        ("1.234.567", True, 1234567), ("1'234.50", False, 1234.5), ("1’234,50", True, 1234.5),
        ("1 234,5", True, 1234.5), ("1\u00a0234.5", False, 1234.5), ("1\u202f234,5", True, 1234.5),
        ("12,34,567.8", False, 1234567.8), ("0,125", True, 0.125), ("0,125", False, None),
        ("1,23", False, None), ("1.23", True, None), ("1,2345", False, None),
        ("1_000", False, None), ("1,234 567", False, None), ("$1,234.5", False, 1234.5),
        ("-$5", False, -5),
        ("$-5", False, -5), ("€ 1.234,50", True, 1234.5), ("1.234,50 €", True, 1234.5),
        ("CHF 1'000.00", False, 1000), ("5 %", False, 5), ("12,5%", True, 12.5),
        ("(5.00)", False, -5), ("($1,000)", False, -1000), ("5-", False, -5), ("−5", False, -5),
        ("-(5)", False, None), ("--5", False, None), ("$5€", False, None), ("1.2M", False, None),
        ("1,5e3", True, 1500), ("1.5E+03", False, 1500), ("192.168.1.1", False, None),
    ],
)  # fmt: skip
def test_numbers_are_read_as_they_are_written(cell: str, comma: bool, value: float | None) -> None:
    number = read_number(cell, comma=comma)
    assert (number and number.value) == value


def column(cells: list[str], mark: str, other: str = "1") -> str:
    rows = [f'r{k}{mark}{other}{mark}"{cell}"' for k, cell in enumerate(cells * 3)]
    return "\n".join([f"d{mark}a{mark}x", *rows])


@pytest.mark.parametrize(
    ("cells", "mark", "values"),
    [
        (["1,200.10", "950.20"], ",", [1200.1, 950.2]),
        (["1,234", "2,345"], ",", [1234, 2345]),
        (["1,234", "950"], ",", [1234, 950]),
        (["1,5", "2,25"], ",", [1.5, 2.25]),
        (["1,5", "2,25", "7"], ";", [1.5, 2.25, 7]),
        (["1.234,50", "987,10"], ";", [1234.5, 987.1]),
        (["1.234,50", "987"], ",", [1234.5, 987]),
        (["1.234.567", "900"], ",", [1234567, 900]),
        (["1.234", "2.345"], ";", [1.234, 2.345]),
        (["0,123", "1,234"], ";", [0.123, 1.234]),
        (["1 234,5", "2 000"], "\t", [1234.5, 2000]),
        (["$1,234.00", "$5.00"], ",", [1234, 5]),
        (["12 %", "5 %"], ";", [12, 5]),
        (["(5)", "6"], "|", [-5, 6]),
    ],
)
def test_a_column_has_one_notation(cells: list[str], mark: str, values: list[float]) -> None:
    series = read(column(cells, mark))
    assert (series.column, series.values.tolist()) == ("x", values * 3)
    is_plain = cells == ["1.234", "2.345"]
    assert is_plain != ("numbers" in series.notes)


def test_other_columns_say_what_a_mark_means() -> None:
    assert read(column(["1.234", "950"], ";", other="3,5")).values.tolist()[:2] == [1234, 950]
    assert read(column(["1.234", "950"], ";", other="3.5")).values.tolist()[:2] == [1.234, 950]
    assert read(column(["1,234", "2,345"], ";", other="3.5")).values.tolist()[:2] == [1234, 2345]
    assert read(column(["1,234", "2,345"], ";", other="3,5")).values.tolist()[:2] == [1.234, 2.345]


@pytest.mark.parametrize(
    ("cells", "mark", "first", "second"),
    [(["1,234", "950"], ";", "1234", "1.234"), (["950", "1.234"], ",", "1.234", "1234")],
)
def test_a_number_of_two_meanings_is_refused_with_both(
    cells: list[str], mark: str, first: str, second: str
) -> None:
    text, cell = column(cells, mark), next(cell for cell in cells if len(cell) > 3)
    line = 2 + cells.index(cell)
    assert refusal(text) == (
        f"line {line} of x.csv, x: {cell!r} may be {first} or {second}: --decimal point says the "
        "first, --decimal comma the second"
    )
    place = cells.index(cell)
    assert read(text, decimal="point").values[place] == float(first)
    assert read(text, decimal="comma").values[place] == float(second)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["12%", "5"], "line 3 of x.csv, x: the value has no %, and others are in %: "),
        (["€5", "$6"], "line 3 of x.csv, x: the value is in $, and others are in €: "),
    ],
)
def test_two_units_in_a_column_are_refused(cells: list[str], message: str) -> None:
    assert refusal(column(cells, ",")).startswith(message)


@pytest.mark.parametrize("last", ["Total,500", "Source: the harbour,", ",500", "Average:,7"])
def test_totals_and_notes_below_a_table_are_left_out(last: str) -> None:
    series = read(table(days()) + last + "\n")
    assert series.values.tolist() == VALUES[:20]
    shown = next(cell for cell in last.split(",") if cell)
    assert series.notes["rows"].startswith(f"line 22 ({shown}) left out")
    falling = read(table(days()[::-1]) + last + "\n")
    assert (falling.order, falling.values.tolist()) == ("reversed", VALUES[:20][::-1])


def test_a_total_is_left_out_where_no_dates_stand() -> None:
    series = read("item,n\na,1\nb,3\nc,2\nTotal,6\n")
    assert series.values.tolist() == [1, 3, 2]
    assert "line 5 (Total)" in series.notes["rows"]


def test_a_subtotal_among_the_rows_is_refused() -> None:
    text = table([*days(10), "Q1 total", *days(5, start=datetime.date(2024, 2, 1))])
    assert refusal(text) == (
        "line 12 of x.csv, Date: 'Q1 total' is no date, as the other rows have: mend or delete the "
        "row; --order file takes the rows as they stand"
    )


@pytest.mark.parametrize("lines", ["Date,Temp\n,°C\n", "Date,Temp\nday,°C\n", ",Temp\nDate,°C\n"])
def test_a_header_may_have_two_lines(lines: str) -> None:
    text = lines + table(days()).partition("\n")[2]
    for name in (None, "Temp"):
        series = read(text, name)
        assert (series.column, series.values.tolist()) == ("Temp", VALUES[:20])
        assert series.lines.tolist() == list(range(3, 23))
        assert series.notes["header"] == "lines 1 to 2 of x.csv"


def test_a_bad_first_value_is_no_second_header() -> None:
    assert refusal("Date,n\n2024-01-01,x\n2024-01-02,1\n2024-01-03,2\n") == (
        "line 2 of x.csv, n: 'x' is not a number such as 1234.5"
    )
    assert refusal("Day,n\nmon,x\ntue,1\nwed,2\n").startswith("line 2 of x.csv, n: 'x' is")


def test_a_line_of_years_is_a_header() -> None:
    text = '"Month", "1958", "1959", "1960"\nJAN, 340, 360, 417\nFEB, 318, 342, 391\n'
    assert (read(text).column, read(text).values.tolist()) == ("1960", [417, 391])
    assert read(text, "1958").values.tolist() == [340, 318]


@pytest.mark.parametrize("mark", [";", ",", "\t", "|"])
def test_empty_rows_and_columns_at_the_end_are_left_out(mark: str) -> None:
    rows = [
        f"{day}{mark}{value:g}{mark}{mark}" for day, value in zip(days(9), VALUES, strict=False)
    ]
    text = "\n".join([f"Date{mark}Close", *rows, mark * 3, mark])
    assert read(text).values.tolist() == VALUES[:9]


def test_a_table_between_bars_is_read() -> None:
    rows = [f"| {day} | {value:g} |" for day, value in zip(days(9), VALUES, strict=False)]
    series = read("\n".join(["| Date | Close |", *rows]))
    assert (series.column, series.values.tolist()) == ("Close", VALUES[:9])
    assert series.labels == tuple(days(9))


def test_numbers_with_bare_commas_are_refused_with_what_would_work() -> None:
    assert refusal("Date,Close\n2024-01-01,1,234\n2024-01-02,1,235\n") == (
        "line 1 of x.csv has 2 cells, most lines have 3; "
        "a number with a comma in it stands in quotation marks"
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_marked_export_of_excel_is_read(encoding: str) -> None:
    text = "Datum\tUmsatz\r\n01.02.2024\t1.234,5\r\n31.01.2024\t99,5\r\n"
    series = read(text.encode(encoding))
    assert (series.column, series.values.tolist()) == ("Umsatz", [99.5, 1234.5])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_characters_without_a_mark_are_refused_by_name(encoding: str) -> None:
    data = table(days()).encode(encoding)
    assert refusal(data).endswith(f"without a byte order mark: --encoding {encoding} reads it")
    assert read(data, encoding=encoding).values.tolist() == VALUES[:20]


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"PK\x03\x04", "x.csv looks like a zip archive, as .docx, .xlsx, .odt and .epub files "
         "are: save its table as CSV first"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "x.csv looks like an Office document (.doc, .xls): "
         "save its table as CSV first"),
        (b"\x1f\x8b", "x.csv looks like gzip: unpack it first"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_what_is_no_csv_file_is_named(start: bytes, message: str, encoding: str) -> None:
    assert refusal(start + b"\0" * 50, encoding=encoding) == message


def test_columns_of_one_name_are_told_apart() -> None:
    text = "Date,Close,Close\n2024-01-01,1,2\n2024-01-02,2,5\n"
    assert read(text).column == "Close (column 3)"
    assert refusal(text, "Close") == "x.csv has 2 columns named Close: say its number"


def test_a_name_is_found_however_its_accents_are_stored() -> None:
    text = "d,de\u0301bit\n1,2\n2,9\n3,1\n"
    assert read(text, "d\u00e9bit").values.tolist() == [2, 9, 1]


@pytest.mark.parametrize("cell", ["#N/A", "n.a.", "–", "..", "#DIV/0!", "NULL"])
def test_what_spreadsheets_write_for_a_missing_value_is_one(cell: str) -> None:
    text = table(days()) + f"2024-01-25,{cell}\n2024-01-26,4\n"
    assert refusal(text) == f"line 22 of x.csv, Close: the value is missing ({cell})"
