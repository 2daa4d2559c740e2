"""An index of books: it fits the text to the character, or the line that does not is named."""

from pathlib import Path

import pytest

from carousel.data.book_index import book_starts
from carousel.data.corpus import Corpus, prepare_text
from carousel.errors import TextError

# Two line feeds, a book of 10, two line feeds, a book of 4, one line feed, a book of 5 and its end.
TEXT = "\n\nabcde\nfghi\n\njklm\nnopqr\n"


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return prepare_text(TEXT, "a text", cache=tmp_path)


def index(folder: Path, *rows: str, header: str = "offset_chars\tlength_chars") -> Path:
    path = folder / "index.tsv"
    path.write_bytes("\n".join([header, *rows, ""]).encode())
    return path


def test_books_and_the_line_feeds_after_them_cover_the_text(corpus: Corpus, tmp_path: Path) -> None:
    path = index(tmp_path, "2\t10", "14\t4", "19\t5")
    assert book_starts(path, corpus).tolist() == [0, 14, 19]
    assert book_starts(index(tmp_path, "0\t12", "12\t7", "19\t6"), corpus).tolist() == [0, 12, 19]
    assert book_starts(index(tmp_path, f"0\t{len(TEXT)}"), corpus).tolist() == [0]


def test_columns_may_stand_anywhere(corpus: Corpus, tmp_path: Path) -> None:
    header = "title\tlength_chars\tauthor\toffset_chars"
    path = index(tmp_path, '"A\t10\tB\t2', "Ö,\t4\t\t14", "\t5\tx\t19\tmore", header=header)
    assert book_starts(path, corpus).tolist() == [0, 14, 19]


@pytest.mark.parametrize(
    "data",
    [
        b"offset_chars\tlength_chars\r\n2\t10\r\n14\t4\r\n19\t5\r\n",
        b"\xef\xbb\xbfoffset_chars\tlength_chars\n2\t10\n14\t4\n19\t5",
        b"offset_chars\tlength_chars\n2\t10\n14\t4\n19\t5\n\n\n",
        b"\xef\xbb\xbfoffset_chars\tlength_chars\r\n 2\t10 \r\n14\t4\r\n19\t5\r\n\r\n",
    ],
)
def test_what_editors_do_to_files_does_no_harm(corpus: Corpus, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "index.tsv"
    path.write_bytes(data)
    assert book_starts(path, corpus).tolist() == [0, 14, 19]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ["2\t10", "13\t5", "18\t6"],
            None,
        ),
        (
            ["2\t10", "11\t4"],
            "line 3 of PATH does not fit a text: its book begins at 11, and the book of the line "
            "before ends at 12",
        ),
        (
            ["14\t4", "2\t10"],
            "line 2 of PATH does not fit a text: before its book, at 2, stands 'a', "
            "which is in no book",
        ),
        (
            ["2\t10", "15\t3", "19\t5"],
            "line 3 of PATH does not fit a text: before its book, at 14, stands 'j', "
            "which is in no book",
        ),
        (
            ["2\t10", "14\t4", "19\t7"],
            "line 4 of PATH does not fit a text: its book ends at 26, and the text at 25",
        ),
        (
            ["2\t10", "14\t4", "999999999999999999\t1"],
            "line 4 of PATH does not fit a text: its book ends at 1,000,000,000,000,000,000, "
            "and the text at 25",
        ),
        (
            ["2\t10", "14\t4"],
            "line 3 of PATH does not fit a text: after its book, the last one, at 19, stands 'n', "
            "which is in no book",
        ),
        (["2\t10", "14"], "line 3 of PATH has 1 of 2 columns"),
        (["2\t10", "", "14\t4"], "line 3 of PATH has 1 of 2 columns"),
        (["2\t0"], "line 2 of PATH: length_chars must be at least 1, got 0"),
        (["2\tten"], "line 2 of PATH: length_chars must be a whole number, got 'ten'"),
        (["-2\t10"], "line 2 of PATH: offset_chars must be a whole number, got '-2'"),
        (["1_0\t10"], "line 2 of PATH: offset_chars must be a whole number, got '1_0'"),
        (["٣\t10"], "line 2 of PATH: offset_chars must be a whole number, got '٣'"),
        (["\t10"], "line 2 of PATH: offset_chars must be a whole number, got ''"),
        (
            ["9" * 400 + "\t1"],
            f"line 2 of PATH: offset_chars must be a whole number, got '{'9' * 40}'",
        ),
        ([], "PATH names no book"),
    ],
)
def test_what_does_not_fit_is_named(
    corpus: Corpus, tmp_path: Path, rows: list[str], message: str | None
) -> None:
    path = index(tmp_path, *rows)
    if message is None:
        book_starts(path, corpus)
        return
    with pytest.raises(TextError) as caught:
        book_starts(path, corpus)
    assert str(caught.value) == message.replace("PATH", str(path))


@pytest.mark.parametrize(
    "header",
    ["", "offset\tlength", "offset_chars,length_chars", "offset_chars\tlength_chars\toffset_chars"],
)
def test_a_header_without_the_columns_is_refused(
    corpus: Corpus, tmp_path: Path, header: str
) -> None:
    path = index(tmp_path, "2\t10", header=header)
    with pytest.raises(
        TextError, match="must name the columns offset_chars and length_chars, with"
    ):
        book_starts(path, corpus)


def test_files_that_cannot_be_read(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"no such file: .*nowhere\.tsv"):
        book_starts(tmp_path / "nowhere.tsv", corpus)
    with pytest.raises(TextError, match=r"is a folder: name a file or a pipe|Permission denied"):
        book_starts(tmp_path, corpus)
    (tmp_path / "latin.tsv").write_bytes(b"offset_chars\tlength_chars\xe9\n")
    with pytest.raises(TextError, match=r"latin\.tsv is not UTF-8"):
        book_starts(tmp_path / "latin.tsv", corpus)


def test_a_text_without_line_feeds_can_be_one_book(tmp_path: Path) -> None:
    corpus = prepare_text("abc", "a text", cache=tmp_path)
    assert book_starts(index(tmp_path, "0\t2", "2\t1"), corpus).tolist() == [0, 2]
    with pytest.raises(TextError, match=r"line 3 .* before its book, at 1, stands 'b'"):
        book_starts(index(tmp_path, "0\t1", "2\t1"), corpus)
