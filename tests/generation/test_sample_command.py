"""`carousel sample` as it is used: what goes to stdout, in any locale, and how it ends."""

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from carousel.cli.main import run
from carousel.data.vocabulary import Vocabulary
from carousel.generation.config import DEFAULT_SAMPLING, Precision
from carousel.generation.generate import continue_text
from carousel.models.checkpoint import load_model
from generation.saved_model import save_run
from generation.test_engine_runners import needs_bf16


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("sample") / "runs" / "small")


def expected(
    saved: Path,
    prompt: str,
    length: int,
    sample: int = 0,
    precision: Precision = "bf16",
    **settings,
) -> str:
    model, vocabulary = load_model(saved)[:2]
    config = replace(DEFAULT_SAMPLING, **settings)
    how = {"length": length, "sample": sample, "precision": precision}
    return prompt + "".join(continue_text(model, vocabulary, prompt, config, **how))


def test_prints_the_prompt_and_its_continuation(saved, capfdbinary) -> None:
    flags = "--temperature 1.5 --top-k 6 --top-p 0.9 --min-p 0.01 --repetition-penalty 1.2"
    flags += " --repetition-window 9 --candidates 3 --seed 7 --length 40"
    assert run(["sample", str(saved), "--prompt", "ab é", *flags.split()]) == 0
    want = expected(
        saved, "ab é", 40,
        temperature=1.5, top_k=6, top_p=0.9, min_p=0.01,
        repetition_penalty=1.2, repetition_window=9, candidates=3, seed=7,
    )  # fmt: skip
    out, err = capfdbinary.readouterr()
    assert out.decode() == want + ("" if want.endswith("\n") else "\n")
    assert err == b""


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_obeys_nothing_of_the_text(tmp_path: Path, is_terminal: bool) -> None:
    saved = save_run(tmp_path / "run", Vocabulary.from_text("\n\tab\x1b\x9b\x07\u202e"))
    command = [sys.executable, "-m", "carousel", "sample", str(saved), "--length", "300"]
    reading, writing = os.openpty() if is_terminal else os.pipe()
    with subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        data = b""
        while chunk := _read(reading):
            data += chunk
        assert process.wait() == 0
    os.close(reading)
    obeyed = set(data.decode()) & set("\x1b\x9b\x07\u202e")
    assert bool(obeyed) != is_terminal
    assert (r"\x1b" in data.decode()) == is_terminal


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # how a terminal says that nobody writes any more
        return b""


def test_several_samples_stand_apart(saved, capfdbinary) -> None:
    assert run(["sample", str(saved), "--prompt", "a", "--length", "9", "--num-samples", "3"]) == 0
    texts = [expected(saved, "a", 9, sample=n).removesuffix("\n") for n in range(3)]
    assert len(set(texts)) == 3
    want = "".join(f"=== sample {n} of 3 ===\n{text}\n" for n, text in enumerate(texts, start=1))
    assert capfdbinary.readouterr().out.decode() == want


@needs_bf16
def test_products_are_of_bf16_unless_float32_is_asked_for(saved, capfdbinary) -> None:
    flags = ["--length", "2000", "--temperature", "1.5", "--candidates", "1"]
    settings = {"temperature": 1.5, "candidates": 1}
    texts = []
    for precision in ("bf16", "float32"):
        asked = [] if precision == "bf16" else ["--precision", precision]
        assert run(["sample", str(saved), *asked, *flags]) == 0
        texts.append(capfdbinary.readouterr().out.decode().removesuffix("\n"))
        want = expected(saved, "", 2000, precision=precision, **settings)  # type: ignore[arg-type]
        assert texts[-1] == want.removesuffix("\n")
    assert texts[0] != texts[1]


def test_stop_strings_end_a_text(saved, capfdbinary) -> None:
    whole = expected(saved, "", 60)
    stops = [whole[30], whole[10]]
    flags = [flag for stop in stops for flag in ("--stop", stop)]
    assert run(["sample", str(saved), "--length", "60", *flags]) == 0
    end = min(whole.index(stop) for stop in stops)
    assert capfdbinary.readouterr().out.decode().removesuffix("\n") == whole[:end].removesuffix(
        "\n"
    )


@pytest.mark.parametrize("name", ["prompt.txt", "-"])
def test_a_prompt_file_is_read_as_a_corpus_is(
    saved, name, tmp_path, monkeypatch, capfdbinary
) -> None:
    data = "\ufeffab\r\né\n".encode()
    (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert run(["sample", str(saved), "--prompt-file", name, "--length", "5"]) == 0
    want = expected(saved, "ab\né\n", 5)
    assert capfdbinary.readouterr().out.decode().removesuffix("\n") == want.removesuffix("\n")


@pytest.mark.parametrize(
    ("choice", "prompt", "given", "note"),
    [
        ("skip", "axb😀x\r\né", "ab\né", "3 unknown characters left out of the prompt: 'x', '😀'"),
        ("replace", "axbz", "a b ", "2 unknown characters replaced in the prompt: 'x', 'z'"),
        ("replace", "a~", "a ", "1 unknown character replaced in the prompt: '~'"),
        ("skip", "xyz", "", "3 unknown characters left out of the prompt: 'x', 'y', 'z'"),
    ],
)
def test_unknown_characters_of_a_prompt_are_left_out_or_replaced(
    saved, capfdbinary, choice, prompt, given, note
) -> None:
    flags = ["--prompt", prompt, "--on-unknown", choice, "--length", "9"]
    assert run(["sample", str(saved), *flags]) == 0
    out, err = capfdbinary.readouterr()
    assert out.decode().removesuffix("\n") == expected(saved, given, 9).removesuffix("\n")
    assert err.decode() == f"carousel sample: {note}\n"


def test_a_prompt_that_is_known_is_given_as_it_is(saved, capfdbinary) -> None:
    for choice in ("error", "skip", "replace"):
        flags = ["--prompt", "ab\n", "--on-unknown", choice, "--length", "9"]
        assert run(["sample", str(saved), *flags]) == 0
        out, err = capfdbinary.readouterr()
        assert out.decode().removesuffix("\n") == expected(saved, "ab\n", 9).removesuffix("\n")
        assert err == b""


def test_of_many_unknown_characters_a_few_are_named(saved, capfdbinary) -> None:
    flags = ["--prompt", "fghijklmnopq", "--on-unknown", "skip", "--length", "1"]
    assert run(["sample", str(saved), *flags]) == 0
    err = capfdbinary.readouterr().err.decode()
    assert err.startswith("carousel sample: 12 unknown characters ")
    assert err.endswith("'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', …\n")


def test_a_replacement_that_the_model_does_not_know_is_told(tmp_path, capfdbinary) -> None:
    small = save_run(tmp_path / "run", Vocabulary.from_text("ab"))
    assert run(["sample", str(small), "--prompt", "abx", "--on-unknown", "replace"]) == 1
    out, err = capfdbinary.readouterr()
    assert out == b""
    assert err.decode() == (
        "carousel sample: prompt: 'x' (U+0078) at position 2 is not among the 2 characters of the "
        "vocabulary, and neither are U+FFFD, '?' and ' ', which could replace it\n"
    )


def test_without_a_run_the_newest_is_taken(saved, monkeypatch, capfdbinary) -> None:
    monkeypatch.chdir(saved.parents[1])
    assert run(["sample", "--length", "3"]) == 0
    assert len(capfdbinary.readouterr().out.decode().rstrip("\n")) <= 3


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--prompt", "abx"], 1, "prompt: 'x' (U+0078) at position 2"),
        (["--prompt-file", "nosuch.txt"], 1, "nosuch.txt"),
        (["--temperature", "-1"], 2, "temperature must be a finite number, at least 0, got -1"),
        (["--top-k", "0"], 2, "top_k must be a whole number, at least 1, got 0"),
        (["--length", "0"], 2, "length must be a whole number, at least 1, got 0"),
        (["--num-samples", "0"], 2, "num_samples must be a whole number, at least 1, got 0"),
        (["--stop", ""], 2, "--stop needs at least one character"),
        (["--prompt", "a", "--prompt-file", "b"], 2, "give --prompt or --prompt-file, not both"),
        (["--lenght", "3"], 2, "--length"),
    ],
)
def test_a_mistake_gets_one_line(saved, capfdbinary, flags, code, message) -> None:
    try:
        got = run(["sample", str(saved), *flags])
    except SystemExit as exit_:
        got = exit_.code
    out, err = capfdbinary.readouterr()
    assert got == code
    assert out == b""
    assert message in err.decode()
    assert err.decode().startswith("carousel sample: ")
    assert err.decode().count("\n") == 1


def test_a_prompt_file_that_is_not_utf8_is_told(saved, tmp_path, capfdbinary) -> None:
    (tmp_path / "latin1.txt").write_bytes("abé".encode("latin-1"))
    assert run(["sample", str(saved), "--prompt-file", str(tmp_path / "latin1.txt")]) == 1
    assert b"latin1.txt is not UTF-8: byte 0xe9 at offset 2" in capfdbinary.readouterr().err


def command(saved: Path, *flags: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "carousel", "sample", str(saved), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**{k: v for k, v in os.environ.items() if k[:6] != "PYTHON"}, **environment},
    )


C_LOCALE = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def test_utf8_comes_out_in_the_c_locale(saved) -> None:
    with command(saved, "--prompt", "“é", "--length", "30", **C_LOCALE) as process:
        out, err = process.communicate(timeout=60)
    assert out.decode().removesuffix("\n") == expected(saved, "“é", 30).removesuffix("\n")
    assert (process.returncode, err) == (0, b"")


# A letter and its mark, a family of joined emoji, right-to-left words between their controls,
# vowel signs and joiners of Devanagari, a mark at the very beginning.
SCRIPTS = "\u0301e\u0301 👨\u200d👩\u200d👧 \u2067שָׁלוֹם\u2069 \u202bمرحبا\u202c क्\u200dष नमस्ते ﷽\n"


@pytest.mark.parametrize("way", ["--prompt", "--prompt-file"])
@pytest.mark.parametrize("environment", [C_LOCALE, {"PYTHONIOENCODING": "cp1252"}])
def test_every_script_comes_through_unchanged(way, environment, tmp_path) -> None:
    saved = save_run(tmp_path / "run", Vocabulary.from_text(SCRIPTS))
    (tmp_path / "prompt.txt").write_bytes((SCRIPTS + "Ω").encode())
    prompt = SCRIPTS + "Ω" if way == "--prompt" else str(tmp_path / "prompt.txt")
    flags = [way, prompt, "--on-unknown", "skip", "--length", "60"]
    with command(saved, *flags, **environment) as process:
        out, err = process.communicate(timeout=60)
    assert out.decode().removesuffix("\n") == expected(saved, SCRIPTS, 60).removesuffix("\n")
    assert err.startswith(b"carousel sample: 1 unknown character left out of the prompt: '")
    assert process.returncode == 0


def test_the_text_streams_and_a_closed_pipe_ends_it_quietly(saved) -> None:
    with command(saved, "--prompt", "ab", "--length", "1000000000") as process:
        head = os.read(process.stdout.fileno(), 1 << 16)
        process.stdout.close()
        assert process.wait(timeout=60) in (0, 141)
        assert process.stderr.read() == b""
    assert head.startswith(b"ab")
    assert len(head) < 1_000  # a buffer would have kept back thousands of characters
