"""A column of a CSV file: read as it stands, or refused by its place."""

import numpy as np
import pytest

from carousel.errors import ConfigError, DataError
from carousel.forecasting.table import Series, parse_series

MONTHS = ("1949-01", "1949-02", "1949-03")


def read(text: str, column: str | None = None) -> Series:
    return parse_series(text.encode(), "x.csv", column=column)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
@pytest.mark.parametrize("is_quoted", [True, False])
@pytest.mark.parametrize("end", [0, 1, 3])
def test_any_table_is_read_alike(newline: str, delimiter: str, is_quoted: bool, end: int) -> None:
    rows = [("Month", "Passengers"), *zip(MONTHS, ("112", " -1.5e2", "132.25 "), strict=True)]
    mark = '"' if is_quoted else ""
    lines = [delimiter.join(f"{mark}{cell}{mark}" for cell in row) for row in rows]
    series = read(newline.join(lines) + end * newline)
    assert series.values.tolist() == [112.0, -150.0, 132.25]
    assert (series.name, series.column, series.labels) == ("x.csv", "Passengers", MONTHS)
    assert series.lines.tolist() == [2, 3, 4]
    assert len(series) == 3


def test_numbers_alone_are_a_series() -> None:
    series = read("3\n1\n4\n1\n5\n")
    assert series.values.tolist() == [3, 1, 4, 1, 5]
    assert (series.column, series.labels) == ("column 1", ("1", "2", "3", "4", "5"))
    assert series.lines.tolist() == [1, 2, 3, 4, 5]
    assert read("Sales\n3\n1\n").column == "Sales"


def test_a_table_without_a_header_has_none() -> None:
    series = read("1949-01,112\n1949-02,118\n")
    assert (series.column, series.values.tolist()) == ("column 2", [112, 118])


@pytest.mark.parametrize(
    ("column", "values", "name"),
    [
        (None, [7, 8, 9], "b"),
        ("b", [7, 8, 9], "b"),
        ("3", [7, 8, 9], "b"),
        ("2", [4, 5, 6], "a"),
        ("a", [4, 5, 6], "a"),
        ("day", [1, 2, 3], "day"),
    ],
)
def test_a_column_is_meant_by_name_or_number(
    column: str | None, values: list[float], name: str
) -> None:
    series = read("day,a,b,note\n1,4,7,x\n2,5,8,y\n3,6,9,z\n", column)
    assert (series.values.tolist(), series.column) == (values, name)
    assert series.labels == ("1", "2", "3")


def test_a_name_that_is_a_number_wins_over_the_number() -> None:
    text = "1,2,3\na,4,7\nb,5,8\n".replace("1,2,3", "x,y,1")
    assert read(text, "1").values.tolist() == [7, 8]


def test_a_title_may_hold_a_comma() -> None:
    assert read("Sales, in thousands\n3\n1\n").values.tolist() == [3, 1]


def test_commas_in_text_divide_nothing_where_semicolons_do() -> None:
    series = read("day;note;value\n1;a, b;4\n2;c, d;5\n")
    assert (series.column, series.values.tolist()) == ("value", [4, 5])
    assert read('day,note,value\n1,"a, b",4\n2,"c; d",5\n').values.tolist() == [4, 5]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_marks_are_obeyed(encoding: str) -> None:
    series = parse_series("été,n\n1,2\n2,3\n".encode(encoding), "x.csv")
    assert (series.column, series.labels) == ("n", ("1", "2"))
    assert parse_series("été,n\n1,2\n2,3\n".encode(encoding), "x.csv", column="été").column == "été"


def test_another_encoding_is_read_if_it_is_named() -> None:
    data = "date,débit\n1,2\n2,3\n".encode("latin-1")
    assert parse_series(data, "x.csv", encoding="latin-1").column == "débit"
    with pytest.raises(DataError, match=r"x\.csv is not UTF-8: byte 0xe9 at offset 6; --enc"):
        parse_series(data, "x.csv")
    with pytest.raises(ConfigError, match="encoding must be one that Python knows, got 'none'"):
        parse_series(data, "x.csv", encoding="none")


TABLE = "Month,a,b\n1949-01,1,2\n\n1949-02,3,4\n1949-03,5,{}\n1949-04,6,7\n"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("", "line 5 of x.csv, b: the value is missing"),
        ("NA", "line 5 of x.csv, b: the value is missing (NA)"),
        ("nan", "line 5 of x.csv, b: the value is missing (nan)"),
        ("?", "line 5 of x.csv, b: the value is missing (?)"),
        ("inf", "line 5 of x.csv, b: inf is not finite"),
        ("1e999", "line 5 of x.csv, b: 1e999 is not finite"),
        ("many", "line 5 of x.csv, b: 'many' is not a number such as 1234.5"),
        ('"1,5"', "line 5 of x.csv, b: '1,5' is not a number such as 1234.5"),
        ("1_000", "line 5 of x.csv, b: '1_000' is not a number such as 1234.5"),
    ],
)
def test_a_bad_value_is_refused_by_line_and_column(cell: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(TABLE.format(cell))
    assert str(caught.value) == message
    assert read(TABLE.format(cell), "a").values.tolist() == [1, 3, 5, 6]


def test_a_missing_first_value_is_no_header() -> None:
    for cell in ("", "NA"):
        with pytest.raises(DataError, match=r"line 1 of x\.csv, column 2: the value is missing"):
            read(f"1949-01,{cell}\n1949-02,3\n1949-03,4\n")


def test_decimal_commas_are_read_and_no_other_column_taken_for_them() -> None:
    series = read("a;b\n1;1,5\n2;2,5\n3;3,5\n")
    assert (series.column, series.values.tolist()) == ("b", [1.5, 2.5, 3.5])
    with pytest.raises(
        DataError, match=r"line 3 of x\.csv, b: '2\.5' is not a number such as 1234,5"
    ):
        read("a;b\n1;1,5\n2;2.5\n3;3,5\n4;1,25\n")


def test_a_blank_line_among_values_alone_is_a_missing_one() -> None:
    with pytest.raises(DataError, match=r"line 3 of x\.csv: the value is missing"):
        read("n\n1\n\n3\n4\n")
    assert read("n\n1\n3\n4\n\n\n").values.tolist() == [1, 3, 4]


def test_a_quoted_cell_may_span_lines() -> None:
    text = 'note,n\n"two\nlines",1\nb,2\nc,x\nd,4\ne,5\n'
    with pytest.raises(DataError, match=r"line 5 of x\.csv, n: 'x' is not a number"):
        read(text)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", None, "x.csv is empty"),
        (" \n\n", None, "x.csv is empty"),
        ("a,b\nx,y\nz,w\n", None, "x.csv has no column of numbers"),
        ("a,b\n1,2\n3\n5,6\n", None, "line 3 of x.csv has 1 cell, most lines have 2"),
        ("a,b\n1,2\n3,4,5\n5,6\n", None, "line 3 of x.csv has 3 cells, most lines have 2"),
        ('"a","b"\n"1",2\n"3",4\nthe end\n', None, "line 4 of x.csv has 1 cell, most lines have 2"),
        ('a,b\n1,"2\n3,4\n', None, "line 2 of x.csv is no row of a table: unexpected end of data"),
    ],
    ids=["empty", "blank", "words", "short row", "long row", "last words", "open quote"],
)
def test_what_is_no_table_of_numbers_is_refused(
    text: str, column: str | None, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        read(text, column)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("a,b\n1,2\n", "c", "x.csv has no column 'c'; there are a, b or 1 to 2"),
        ("a,b\n1,2\n", "3", "x.csv has no column '3'; there are a, b or 1 to 2"),
        ("a,b\n1,2\n", "0", "x.csv has no column '0'; there are a, b or 1 to 2"),
        ("1,2\n3,4\n", "a", "x.csv has no column 'a'; there are 1 to 2"),
        ("a,a\n1,2\n", "a", "x.csv has 2 columns named a: say its number"),
    ],
)
def test_a_column_that_is_not_there_is_named(text: str, column: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text, column)
    assert str(caught.value) == message


def test_a_column_of_words_may_be_asked_for_and_is_refused() -> None:
    with pytest.raises(DataError, match=r"line 2 of x\.csv, day: 'mon' is not a number"):
        read("day,n\nmon,1\ntue,2\n", "day")


def test_values_keep_all_their_digits() -> None:
    numbers = np.random.default_rng(0).normal(size=50)
    series = read("n\n" + "\n".join(repr(number) for number in numbers.tolist()))
    assert series.values.tolist() == numbers.tolist()


LONG = "9" * 5000


@pytest.mark.parametrize(
    "table",
    [
        f"{LONG}\n{LONG}\n{LONG}\n",
        f"n\n{LONG}\n{LONG}\n{LONG}\n",
        f"day,n\n1,{LONG}\n2,{LONG}\n3,{LONG}\n",
        f"1,2\n3,{LONG}\n5,6\n",
    ],
)
def test_numbers_of_thousands_of_digits_are_not_finite(table: str) -> None:
    with pytest.raises(DataError, match="is not finite") as caught:
        read(table)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("time", ["year,month,day", "month,day,year", "day,year,month"])
def test_dates_of_thousands_of_digits_are_none(time: str) -> None:
    names = time.split(",")
    for long in names:
        row = ",".join(LONG if name == long else "7" for name in names)
        series = read(f"{time},n\n" + "".join(f"{row},{k * k}\n" for k in range(3)), "n")
        assert series.values.tolist() == [0, 1, 4]


@pytest.mark.parametrize("column", [None, "1", "other"])
@pytest.mark.parametrize("rows", ["1\n2\n4\n", "1,5\n2,6\n4,8\n", "1\nx\n4\n"])
def test_no_name_of_a_column_makes_a_message_long(column: str | None, rows: str) -> None:
    header = ",".join(["n" * 100_000] * (1 + rows.count(",") // 3))
    said: list[str] = []
    try:
        series = read(f"{header}\n{rows}", column)
        said = [series.column, *series.notes.values()]
    except (ConfigError, DataError) as error:
        said = [str(error)]
    assert max(map(len, said)) < 1500
