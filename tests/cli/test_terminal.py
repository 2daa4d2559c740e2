"""What comes from outside is shown by a terminal and obeyed by none; pipes get it as it is."""

import ast
import io
import json
import logging
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest

from carousel.cli.console import VisibleConsole, shell_word
from carousel.cli.progress import VisibleProgress
from carousel.cli.serve import _announce
from carousel.cli.terminal import VisibleFormatter, VisibleStream, folded, one_line, printable
from carousel.data.corpus import prepare
from carousel.data.vocabulary import Vocabulary
from carousel.models.checkpoint import FORMAT, model_files, write_checkpoint
from carousel.models.language_model import build
from cli.commands import LINES, TEXT, TINY, Call, caller
from generation.saved_model import SMALL

SOURCES = Path(__file__).parents[2] / "src" / "carousel"

# Each alone does something to a terminal, or hides; none is among what rich sends (screen.py).
CONTROLS = "\x1b[2J\x1b]0;title\x07\x9b2J\x90q\x9c\x7f\r\b\v\f\x00\x1f\x85"
DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u2028\u2029\U000e0041\ufffe"
HOSTILE = CONTROLS + DIRECTIONS + UNSEEN
NAME = "odd" + HOSTILE.replace("\x00", "").replace("\ufffe", "")  # of a file
MARK = r"\x1b[2J\x1b]0;title\x07\x9b2J"  # NAME and HOSTILE, shown


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    ours = caller(tmp_path, monkeypatch, capfd)
    monkeypatch.setenv("TERM", "xterm")
    Path(NAME).write_text(TEXT, encoding="utf-8")
    _save("run", Vocabulary.from_text(TEXT + HOSTILE))
    return ours


VOCABULARY = Vocabulary.from_text(TEXT)


def _save(
    folder: str, vocabulary: Vocabulary, name: str = "poems", sha256: str = "0", **others: str
) -> None:
    """Write a run, and in its checkpoint these other files."""
    corpus = {"name": name, "sha256": sha256, "opening": "", "parts": {"train": 9, name: 9}}
    corpus |= {"split_sha256": "0"}
    config = {"model": asdict(SMALL), "corpus": corpus, "settings": {}}
    files = model_files(build(SMALL, len(vocabulary)), vocabulary, config)
    path = Path(folder)
    (path / "checkpoints").mkdir(parents=True)
    files |= {file: content.encode() for file, content in others.items()}
    write_checkpoint(path / "checkpoints" / "00000001", files)
    for pointer in ("best", "last"):
        (path / pointer).write_text("00000001\n")


MISSING = f"missing {NAME}"
PLACES: dict[str, list[str]] = {
    "a command": [f"no{HOSTILE}"],
    "a flag": ["train", f"--no{HOSTILE}"],
    "a flag's value": ["train", "--steps", HOSTILE],
    "a choice": ["train", "--optimizer", HOSTILE],
    "a text": ["train", MISSING],
    "a text to prepare": ["prepare", MISSING],
    "a text to judge": ["eval", "run", MISSING],
    "a table": ["forecast", MISSING],
    "a run": ["sample", MISSING],
    "a run to serve": ["serve", MISSING],
    "a token": ["serve", "run", "--token-file", MISSING],
    "a prompt file": ["sample", "run", "--prompt-file", MISSING],
    "a config file": ["train", "song.txt", "--config", MISSING],
    "an index": ["train", "song.txt", "--split", "books", "--index", MISSING],
    "a folder that is a file": ["train", "song.txt", "--out", NAME],
    "a file that is there": ["tales", "--out", NAME],
    "an origin": ["serve", "run", "--cors-origin", HOSTILE],
    "a row of the proof": ["verify", "--family", HOSTILE],
    "a case of the benchmark": ["bench", "--only", HOSTILE],
    "a column": ["forecast", "tides.csv", "--column", HOSTILE],
    "a stop string": ["sample", "run", "--stop", f"é{HOSTILE}", "--length", "1"],
    "an unknown character": ["sample", "other", "--prompt", HOSTILE, "--on-unknown", "skip"],
    "a prompt": ["sample", "run", "--prompt", HOSTILE, "--length", "1", "--seed", "3"],
    "a prepared text": ["prepare", NAME],
    "a cache": ["prepare", "song.txt", "--cache-dir", f"cache {NAME}"],
    "an empty cache": ["prepare", "--list", "--cache-dir", MISSING],
    "a key of a TOML file": ["train", "song.txt", "--config", "key.toml"],
    "a table of a TOML file": ["train", "song.txt", "--config", "table.toml"],
    "a value of a TOML file": ["train", "song.txt", "--config", "value.toml"],
    "a broken TOML file": ["train", "song.txt", "--config", "broken.toml"],
    "the name of a model's text": ["eval", "other", "song.txt", "--part", "test"],
    "the parts of a model's text": ["eval", "other", "song.txt"],
    "a vocabulary": ["sample", "damaged"],
    "a model's settings": ["sample", "damaged"],
    "the header of an index": ["train", "song.txt", "--split", "books", "--index", "index.tsv"],
}


@pytest.mark.parametrize("place", PLACES)
def test_a_terminal_shows_what_it_could_obey(
    call: Call, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    from cli.screen import in_process

    _furnish(place)
    shown = in_process(monkeypatch, *(a.replace("\x00", "") for a in PLACES[place]), columns=200)
    lines = shown.lines  # which fails where something is obeyed
    assert r"\x1b" in "".join(lines), lines
    assert "Traceback" not in shown.raw
    assert shown.code in (0, 1, 2)
    if place == "the parts of a model's text":
        assert "[link=http://example.org][red]" in "".join(lines), "no markup of rich's"


def _furnish(place: str) -> None:
    """Write the files that a place needs."""
    toml = json.dumps(f"a{HOSTILE}")  # its escapes are those of TOML, too
    match place.split()[-1], place:
        case "file", _:
            Path("key.toml").write_text(f"[model]\n{toml} = 1\n")
            Path("table.toml").write_text(f"[{toml}]\na = 1\n".replace("\\udb40\\udc41", ""))
            Path("value.toml").write_text(f"[model]\nhidden_size = {toml}\n")
            Path("broken.toml").write_text('[model]\nmodel = "a\x1b[2J"\n', encoding="utf-8")
            for path in ("key.toml", "value.toml"):
                Path(path).write_text(Path(path).read_text().replace("\\udb40\\udc41", ""))
        case _, "the name of a model's text":
            _save("other", VOCABULARY, name=HOSTILE)
        case _, "the parts of a model's text":
            link = f"[link=http://example.org][red]{HOSTILE}"
            sha256 = prepare([Path("song.txt")], cache=Path("cache")).sha256
            _save("other", VOCABULARY, name=link, sha256=sha256)
        case _, "an unknown character":
            _save("other", VOCABULARY)
        case _, "a vocabulary":
            _save("damaged", VOCABULARY, **{"vocabulary.json": json.dumps(["a", HOSTILE])})
        case _, "a model's settings":
            config = {"format": FORMAT, "model": {"model": HOSTILE}}
            _save("damaged", VOCABULARY, **{"config.json": json.dumps(config)})
        case _, "the header of an index":
            Path("index.tsv").write_text(f"{NAME}\t1\n", encoding="utf-8", newline="")
        case _, "a column":
            Path("tides.csv").write_text("day,metres\n1,2\n")


def test_a_sample_is_shown_on_a_terminal_and_exact_in_a_pipe(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from cli.screen import in_process

    asked = ("sample", "run", "--length", "400", "--temperature", "1.5")
    shown = "\n".join(in_process(monkeypatch, *asked, columns=200).lines)
    piped = call(*asked).out
    written = {c for c in HOSTILE if c in piped}
    assert {"\x1b", "\u202e"} & written, "the model writes some of them"
    for character in written:
        assert printable(character) in shown
    expected = [line.rstrip() for line in printable(piped).rstrip("\n").split("\n")]
    assert shown.expandtabs().split("\n") == [line.expandtabs() for line in expected]


def test_training_shows_its_text_and_obeys_none_of_it(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name, its opening, samples beside the bar, the last one, and what is suggested."""
    from cli.screen import in_process

    lines = [f"{line}{HOSTILE.replace(chr(0xFFFE), '')}" for line in LINES]
    Path(NAME).write_text("\n".join(lines * 60), encoding="utf-8")
    flags = ("--steps", "6", "--sample-every", "3", "--save-every", "3", "--eval-every", "3")
    shown = in_process(monkeypatch, "train", NAME, *TINY, *flags, columns=200)
    assert shown.code == 0, shown.raw
    for row in ("text", "run", "curve"):
        assert any(line.startswith(row) and r"\x1b[2J" in line for line in shown.lines), row
    suggested = next(line for line in shown.lines if "carousel sample" in line)
    assert r"$'runs/odd\x1b[2J" in suggested


def test_a_table_is_shown_and_obeyed_nowhere(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from cli.screen import in_process

    column = HOSTILE.replace("\x00", "").replace("\r", "").replace("\v", "").replace("\f", "")
    column = column.replace("\u2028", "").replace("\u2029", "").replace("\x85", "")
    rows = [f"day {k}{column},{k * k % 17}" for k in range(90)]
    Path("tides.csv").write_text("\n".join([f"day,m{column}", *rows]), encoding="utf-8")
    flags = ("--epochs", "1", "--window", "4", "--hidden-size", "4", "--ahead", "1")
    shown = in_process(monkeypatch, "forecast", "tides.csv", *flags, columns=400)
    assert shown.code == 0, shown.raw
    lines = "".join(line.strip() for line in shown.lines)
    assert lines.count(r"m\x1b[2J") == 2, "where it is introduced, and below the table"
    assert f"m{column};" in call("forecast", "tides.csv", *flags).out


def test_logs_are_lines_that_no_terminal_obeys() -> None:
    record = logging.LogRecord("carousel", logging.WARNING, "", 0, "%s", (f"a\nb{HOSTILE}",), None)
    line = VisibleFormatter().format(record)
    assert line.isprintable()
    assert line.startswith(rf"a\nb{MARK}")


def test_what_is_printed_beside_a_bar_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """rich reads escapes there, links among them, and would send them on."""
    from carousel.cli import tales
    from carousel.cli.console import console
    from cli.screen import in_process

    link = "\x1b]8;;http://example.org\x1b\\here\x1b]8;;\x1b\\"

    def main(arguments: list[str]) -> int:
        with VisibleProgress(console=console, transient=True) as bar:
            bar.add_task("working")
            sys.stderr.write(f"{link}\n")
            logging.lastResort.emit(logging.makeLogRecord({"msg": link}))
            sys.stdout.write(f"{HOSTILE}\n")
        return 0

    monkeypatch.setattr(tales, "main", main)
    shown = in_process(monkeypatch, "tales", columns=400)
    assert shown.lines[:3] == [printable(link)] * 2 + [printable(HOSTILE)]


@pytest.mark.parametrize("text", ["a\x1b[2Jb\tc\x07\n", "\x9b", "\u202e\ufeff", "\U000e0041"])
def test_escapes_are_those_of_python(text: str) -> None:
    assert eval(f"'''{printable(text)}'''") == text
    assert printable(printable(text)) == printable(text)


def test_what_is_seen_stays() -> None:
    text = "é, שלום, 字, \u0600, 👩, a\u0301\t\n"
    assert printable(text) == text
    assert printable("a\udce9\ud800") == "a\ufffd\ufffd"


def test_a_line_stays_one() -> None:
    assert one_line("a\nb\r\u2028\x85c\td") == "a\\nb\\r\\u2028\\x85c\td"


def test_a_file_name_with_a_line_feed_makes_no_second_line(call: Call) -> None:
    result = call("train", "song.txt", "--config", "a\ncarousel: all is well")
    message = "carousel train: No such file or directory: a\\ncarousel: all is well\n"
    assert result.err == message


@pytest.mark.parametrize("words", [("sample",), ("eval", "song.txt"), ("train",)])
def test_the_name_of_a_run_makes_no_second_line(call: Call, words: tuple[str, ...]) -> None:
    name = "runs/a\ncarousel: all is well"
    _save(name, VOCABULARY)
    arguments = {"sample": ["--length", "3"], "eval": [name, "song.txt"]}.get(words[0], [])
    if words[0] == "train":
        arguments = ["song.txt", "--out", name]
    assert "\ncarousel: all is well" not in call(words[0], *arguments).err


def test_the_name_of_a_served_run_makes_no_second_line(capsys: pytest.CaptureFixture[str]) -> None:
    _announce([Path("a\nb")], "127.0.0.1", 5000, has_token=True)
    said = capsys.readouterr().err
    assert said.startswith(r"a\nb at http://127.0.0.1:5000/ (")
    assert said.count("\n") == 1


def test_streams_that_are_no_terminals_take_all_but_halves_of_pairs() -> None:
    stream = io.StringIO()
    VisibleStream(stream).writelines([HOSTILE, "caf\udce9"])
    assert stream.getvalue() == f"{HOSTILE}caf\ufffd"


def test_what_is_written_to_a_terminal_that_was_closed_is_dropped() -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        console = VisibleConsole(stderr=True, file=VisibleStream(stream), force_terminal=True)
        os.close(ours)
        with pytest.raises(OSError, match=r"\[Errno 5\]"):
            os.write(theirs, b"a")
        VisibleStream(stream).write("nobody reads this\n")
        VisibleStream(stream).flush()
        console.print("nor this")
        with suppress(OSError):  # what the stream still holds
            stream.close()
    full = Path("/dev/full")
    if full.exists():
        with pytest.raises(OSError, match="No space"), full.open("w") as stream:
            VisibleStream(stream).write("a" * 100_000)


def test_words_for_the_shell_name_bytes_that_nobody_can_type() -> None:
    assert shell_word("runs/a") == "runs/a"
    assert shell_word("it's é") == "'it'\"'\"'s é'"
    assert shell_word("caf\udce9 it's \\ \x1b\u202e") == r"$'caf\xe9 it\x27s \x5c \x1b\xe2\x80\xae'"


@pytest.mark.parametrize("columns", [1, 12, 40, 80])
def test_folded_lines_fit_wherever_words_do(columns: int) -> None:
    lines = folded(
        "recurrence        float32   bfloat16  ", "there is no kernel with w_cf", columns
    )
    assert " ".join(lines.split()) == "recurrence float32 bfloat16 there is no kernel with w_cf"
    assert all(len(line) <= max(20, columns) for line in lines.split("\n")[1:])


def test_nothing_is_written_past_the_edge() -> None:
    """print, sys.stdout and rich's console pass through terminal.py; nothing else may print."""
    found = {
        f"{path.relative_to(SOURCES)}: {name}"
        for path in sorted(SOURCES.rglob("*.py"))
        for name in _ways_past(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == ALLOWED


ALLOWED = {
    "cli/console.py: rich.console.Console",  # whose subclass is the edge
    "cli/console.py: Console",
    "cli/serve.py: StreamHandler",  # with a VisibleFormatter
    "cli/serve.py: basicConfig",
    "input_files.py: /dev/tty",  # which is read, not written
    "progress_bar.py: rich.console.Console",  # of Python: it prints numbers of ours alone
    "progress_bar.py: Console",
}
_WAYS = {"Console", "StreamHandler", "basicConfig", "__stdout__", "__stderr__", "print_exception"}


def _ways_past(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        name = {ast.Attribute: "attr", ast.Name: "id"}.get(type(node))
        word = getattr(node, name) if name else None
        if word in _WAYS:
            found.add(word)
        if word in ("buffer", "raw", "detach"):
            code = ast.unparse(node)
            found |= {code} if "std" in code and "stdin" not in code else set()
        if isinstance(node, ast.Constant) and node.value in ("/dev/tty", "/dev/stdout", "CONOUT$"):
            found.add(node.value)
        if isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            if node.module in ("rich", "rich.console") and names & {"print", "Console", "inspect"}:
                found.add(f"{node.module}.{min(names & {'print', 'Console', 'inspect'})}")
            if node.module == "sys":
                found.add("from sys import")  # would keep the stream of before
    return found


def test_the_scan_sees_each_way_past() -> None:
    for code in (
        "import sys; sys.stdout.buffer.write(b'')",
        "import sys; sys.__stderr__.write('')",
        "from rich import print",
        "from rich.console import Console",
        "import rich.console as c; c.Console()",
        "from sys import stdout",
        "open('/dev/tty')",
        "import logging; logging.StreamHandler()",
    ):
        assert _ways_past(ast.parse(code)), code
    assert not _ways_past(ast.parse("import sys; sys.stdin.buffer.read(); print(sys.stdout)"))
