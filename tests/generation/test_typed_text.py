"""What is typed behind --prompt and --stop: escapes, line endings, normal forms, vain stops."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from carousel.cli.main import run
from carousel.cli.typed_text import best_normal_form, unescape
from carousel.data.vocabulary import Vocabulary
from carousel.errors import UsageError
from generation.saved_model import save_run
from generation.test_sample_command import expected

PLAIN = ["--length", "60"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("typed") / "run")


@pytest.fixture(scope="module")
def with_backslash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    vocabulary = Vocabulary.from_text("\n abn\\")
    return save_run(tmp_path_factory.mktemp("typed") / "backslash", vocabulary)


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (r"a\nb", "a\nb"), (r"a\tb", "a\tb"), (r"a\\nb", r"a\nb"), (r"\\\n", "\\\n"),
        (r"a\r\nb", "a\nb"), ("a\r\nb\rc", "a\nb\nc"), ("a\nb", "a\nb"), ("plain", "plain"),
        ("", ""),
    ],
)  # fmt: skip
def test_escapes_mean_what_they_mean_elsewhere(typed: str, text: str) -> None:
    assert unescape(typed, "--stop") == text


@pytest.mark.parametrize("typed", ["\\d", "a\\", "\\u0041", "\\\n", "\\alpha"])
def test_an_unknown_escape_is_refused(typed: str) -> None:
    with pytest.raises(UsageError) as caught:
        unescape(typed, "--prompt")
    escape = typed[typed.index("\\") :][:2]
    assert str(caught.value).startswith(f"--prompt: {escape} is no escape")
    assert r"there are \n, \t and \r, and \\ for a backslash" in str(caught.value)


@pytest.mark.parametrize("stop", [r"\n", "\n", r"\r\n", "\r\n", "\r"])
def test_a_line_feed_ends_a_text_however_it_is_typed(saved, capfdbinary, stop: str) -> None:
    whole = expected(saved, "a", 60)
    assert "\n" in whole[1:], "else nothing would be stopped"
    assert run(["sample", str(saved), "--prompt", "a", *PLAIN, "--stop", stop]) == 0
    out, err = capfdbinary.readouterr()
    assert out.decode() == whole[: whole.index("\n")] + "\n"
    assert err == b""


def test_a_prompt_may_have_several_lines(saved, capfdbinary) -> None:
    assert run(["sample", str(saved), "--prompt", r"ab\n\nc", *PLAIN]) == 0
    out, err = capfdbinary.readouterr()
    assert out.decode().removesuffix("\n") == expected(saved, "ab\n\nc", 60).removesuffix("\n")
    assert err == b""


def test_a_file_and_python_take_backslashes_as_they_are(
    with_backslash, tmp_path, monkeypatch, capfdbinary
) -> None:
    prompt = r"a\nb"
    (tmp_path / "p.txt").write_text(prompt)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(prompt.encode())))
    want = expected(with_backslash, prompt, 60).removesuffix("\n")
    for file in (str(tmp_path / "p.txt"), "-"):
        assert run(["sample", str(with_backslash), "--prompt-file", file, *PLAIN]) == 0
        out, err = capfdbinary.readouterr()
        assert (out.decode().removesuffix("\n"), err) == (want, b"")
    assert run(["sample", str(with_backslash), "--prompt", r"a\\nb", *PLAIN]) == 0
    assert capfdbinary.readouterr().out.decode().removesuffix("\n") == want


def test_a_model_that_knows_the_backslash_has_its_user_told(with_backslash, capfdbinary) -> None:
    assert run(["sample", str(with_backslash), "--prompt", "a", "--stop", r"\n", *PLAIN]) == 0
    assert capfdbinary.readouterr().err.decode() == (
        "carousel sample: \\n in --stop is a line feed; \\\\n is a backslash and the letter n\n"
    )


@pytest.mark.parametrize(
    ("flags", "note"),
    [
        (["--stop", "bx"], "--stop 'bx' can never come up: 'x' (U+0078) at position 1 is not among "
         "the 9 characters of the vocabulary"),
        (["--stop", "abcde abcde"], "--stop 'abcde abcde' can never come up: it has 11 characters, "
         "and --length is 10"),
    ],
)  # fmt: skip
def test_a_stop_string_that_can_never_come_up_is_told(saved, capfdbinary, flags, note) -> None:
    assert run(["sample", str(saved), "--prompt", "a", "--length", "10", *flags]) == 0
    out, err = capfdbinary.readouterr()
    assert out.decode().removesuffix("\n") == expected(saved, "a", 10).removesuffix("\n")
    assert err.decode() == f"carousel sample: {note}\n"


def test_a_curly_stop_string_has_its_plain_form_named(tmp_path, capfdbinary) -> None:
    saved = save_run(tmp_path / "run", Vocabulary.from_text("\n ab\"'"))
    assert run(["sample", str(saved), "--prompt", "a", "--stop", "”", "--length", "5"]) == 0
    assert capfdbinary.readouterr().err.decode().endswith("""of the vocabulary; '"' is\n""")


COMPOSED, DECOMPOSED = "\u00e9", "e\u0301"


@pytest.mark.parametrize(
    ("known", "typed", "how"),
    [
        (COMPOSED, DECOMPOSED, "composed (NFC)"),
        (DECOMPOSED, COMPOSED, "decomposed (NFD)"),
    ],
)
def test_accents_are_typed_in_either_form(tmp_path, capfdbinary, known, typed, how) -> None:
    saved = save_run(tmp_path / "run", Vocabulary.from_text("\nab" + known))
    assert run(["sample", str(saved), "--prompt", "a" + typed, *PLAIN]) == 0
    out, err = capfdbinary.readouterr()
    whole = expected(saved, "a" + known, 60)
    assert out.decode().removesuffix("\n") == whole.removesuffix("\n")
    assert err.decode() == (
        f"carousel sample: accents of the prompt are {how}, as the model has them\n"
    )
    assert known in whole[2:], "else nothing would be stopped"
    assert run(["sample", str(saved), "--prompt", "b", *PLAIN, "--stop", typed]) == 0
    stopped = expected(saved, "b", 60).partition(known)[0]
    out, err = capfdbinary.readouterr()
    assert (out.decode().removesuffix("\n"), err) == (stopped.removesuffix("\n"), b"")


def test_a_form_is_changed_only_where_that_makes_more_known() -> None:
    assert best_normal_form(DECOMPOSED + "Ω", set(DECOMPOSED)) == DECOMPOSED + "Ω"
    assert best_normal_form(COMPOSED, set(COMPOSED + DECOMPOSED)) == COMPOSED
    assert best_normal_form("ж" + DECOMPOSED, set(COMPOSED)) == "ж" + COMPOSED


def test_a_prompt_file_in_utf16_is_refused_with_what_would_work(
    saved, tmp_path, capfdbinary
) -> None:
    for encoding, seems in (("utf-16-le", "looks like UTF-16"), ("utf-16", "is not UTF-8")):
        (tmp_path / "p.txt").write_bytes(("abc de " * 9).encode(encoding))
        assert run(["sample", str(saved), "--prompt-file", str(tmp_path / "p.txt")]) == 1
        out, err = capfdbinary.readouterr()
        assert out == b""
        assert f"p.txt {seems}" in err.decode()
        assert err.decode().endswith(": save it as UTF-8\n")
        assert err.count(b"\n") == 1
