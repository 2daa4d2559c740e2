"""Every way in which a text enters refuses what is none, and tells of unusual characters."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.commands import TEXT, TINY, Call, caller
from generation.saved_model import save_run

WIDE = (TEXT * 3).encode("utf-16-le")


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    (tmp_path / "wide.txt").write_bytes(WIDE)
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "1.txt").write_text(TEXT)
    (tmp_path / "mixed" / "2.txt").write_bytes(WIDE)
    return caller(tmp_path, monkeypatch, capfd)


@pytest.mark.parametrize("command", ["prepare", "train", "eval"])
@pytest.mark.parametrize("text", ["wide.txt", "mixed", "-"])
def test_utf16_without_a_mark_is_refused_wherever_it_enters(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, text: str
) -> None:
    with (tmp_path / "wide.txt").open() as stdin:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stdin.buffer))
        arguments = {
            "prepare": ["prepare", text],
            "train": ["train", text, *TINY, "--steps", "2"],
            "eval": ["eval", str(save_run(tmp_path / "run")), text],
        }[command]
        result = call(*arguments)
    name = {"wide.txt": "wide.txt", "mixed": str(Path("mixed", "2.txt")), "-": "stdin"}[text]
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        f"carousel {command}: {name} looks like UTF-16 without a byte order mark (half of its "
        "characters or more would be control characters such as U+0000): --encoding utf-16-le "
        "reads it\n"
    )


def test_other_files_of_text_are_refused_in_the_same_words(call: Call, tmp_path: Path) -> None:
    Path("token.txt").write_bytes("a-secret-of-many-letters".encode("utf-16"))
    served = call("serve", "story", "--token-file", "token.txt")
    assert served == (
        1,
        "",
        "carousel serve: token.txt is not UTF-8: byte 0xff at offset 0; it looks like UTF-16: save "
        "it as UTF-8\n",
    )
    Path("books.tsv").write_bytes("offset_chars\tlength_chars\n0\t9\n".encode("utf-16-le"))
    flags = ("--split", "books", "--index", "books.tsv")
    trained = call("train", "song.txt", *TINY, "--steps", "2", *flags)
    assert trained == (
        1,
        "",
        "carousel train: books.tsv looks like UTF-16 without a byte order mark: save it as UTF-8\n",
    )


def test_with_its_encoding_named_it_is_the_same_text(call: Call) -> None:
    named = call("prepare", "wide.txt", "--encoding", "utf-16-le", "--json")
    (Path("plain.txt")).write_text(TEXT * 3, newline="")
    plain = call("prepare", "plain.txt", "--json")
    assert named.code == plain.code == 0
    assert named.out.partition("sha256")[2][:70] == plain.out.partition("sha256")[2][:70]


@pytest.mark.parametrize("again", [False, True])
def test_a_stray_control_character_is_told_also_from_the_cache(call: Call, again: bool) -> None:
    Path("stray.txt").write_bytes(TEXT.encode() + b"a\0b\0c\x07\n")
    if again:
        call("prepare", "stray.txt")
    result = call("prepare", "stray.txt")
    assert result.code == 0
    assert result.err == (
        "warning: stray.txt has characters that a text seldom has: "
        f"U+0000 2 times (first at {len(TEXT) + 1:,}), U+0007 1 time (first at {len(TEXT) + 5:,})\n"
    )


def test_training_and_evaluation_tell_of_it_too(call: Call) -> None:
    Path("stray.txt").write_bytes(TEXT.encode() + b"a\0b\n")
    warning = "warning: stray.txt has characters that a text seldom has: U+0000 1 time (first at "
    assert warning in call("train", "stray.txt", *TINY, "--steps", "2").err
    assert warning in call("eval", "runs/stray", "stray.txt").err


def test_windows_quotation_marks_read_as_latin1_are_told(call: Call) -> None:
    Path("quotes.txt").write_bytes((TEXT + "“quoted”\n").encode("cp1252"))
    result = call("prepare", "quotes.txt", "--encoding", "latin-1")
    assert result.code == 0
    assert "U+0093 1 time (first at " in result.err
    assert result.err.endswith("; --encoding cp1252 reads texts of Windows\n")
    assert call("prepare", "quotes.txt", "--encoding", "cp1252").err == ""


def test_a_usual_text_is_told_nothing(call: Call) -> None:
    Path("usual.txt").write_bytes(b"\xef\xbb\xbf" + TEXT.encode() + "\ta\fb é — “…”\r\n".encode())
    assert call("prepare", "usual.txt").err == ""
