"""`carousel prepare`, and what train and eval do with texts of all kinds."""

import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from carousel.cli import text_source
from carousel.data import cache as cache_module
from carousel.data.reading import PLAIN
from carousel.files import Lock
from cli.commands import TEXT, TINY, Call, Result, caller, environment

SHA256 = hashlib.sha256(TEXT.encode()).hexdigest()


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    return caller(tmp_path, monkeypatch, capfd)


def facts(result: Result) -> dict[str, Any]:
    assert (result.code, result.err) == (0, ""), result
    found: dict[str, Any] = json.loads(result.out)
    return found


def hidden(folder: Path) -> list[Path]:
    return list(folder.rglob(".*"))


def test_it_says_what_it_made_and_the_second_time_that_it_was_there(
    tmp_path: Path, call: Call
) -> None:
    entry = tmp_path / "cache" / SHA256[:32]
    for ending in (r"", r", from the cache"):
        result = call("prepare", "song.txt")
        assert (result.code, result.err) == (0, "")
        size = cache_module.in_bytes(sum(path.stat().st_size for path in entry.iterdir()))
        lines = [
            r"name        song\.txt",
            rf"characters  {len(TEXT):,}, {len(set(TEXT))} different",
            r"ids         uint8",
            r"documents   12",
            rf"sha256      {SHA256}",
            re.escape(f"folder      {entry} ({size})"),
            rf"time        \d+\.\d s{ending}",
        ]
        assert re.fullmatch("\n".join(lines) + "\n", result.out), result.out
    assert len(TEXT.split("\n\n")) == 12


def test_json_says_the_same(tmp_path: Path, call: Call) -> None:
    entry = tmp_path / "cache" / SHA256[:32]
    for from_cache in (False, True):
        found = facts(call("prepare", "song.txt", "--json"))
        assert found.pop("seconds") >= 0
        assert found == {
            "name": "song.txt",
            "characters": len(TEXT),
            "symbols": len(set(TEXT)),
            "ids": "uint8",
            "documents": 12,
            "sha256": SHA256,
            "folder": str(entry),
            "bytes": sum(path.stat().st_size for path in entry.iterdir()),
            "from_cache": from_cache,
        }


@pytest.mark.parametrize(
    "arguments",
    [[], ["song.txt", "--list"], ["song.txt", "--clear"], ["--list", "--clear"], ["--json"]],
)
def test_one_thing_at_a_time(arguments: list[str], tmp_path: Path, call: Call) -> None:
    one = "name a text to prepare, or give --list or --clear: one of the three"
    message = f"carousel prepare: {one}\n"
    assert call("prepare", *arguments) == Result(2, "", message)
    assert not (tmp_path / "cache").exists()


def test_list_and_clear(tmp_path: Path, call: Call) -> None:
    cache = tmp_path / "cache"
    assert call("prepare", "--list") == Result(0, "", f"no text is kept in {cache}\n")
    assert call("prepare", "--list", "--json") == Result(0, "[]\n", "")
    song = facts(call("prepare", "song.txt", "--json"))
    Path("short.txt").write_text("héé")
    short = facts(call("prepare", "short.txt", "--json"))
    assert facts(call("prepare", "--list", "--json")) == [
        {key: each[key] for key in ("name", "sha256", "characters", "symbols", "documents")}
        | {"bytes": each["bytes"], "folder": each["folder"]}
        for each in (song, short)
    ]
    first, second = call("prepare", "--list").out.splitlines()
    assert first.split() == [
        *("song.txt", f"{len(TEXT):,}", "characters", str(song["symbols"]), "different"),
        *cache_module.in_bytes(song["bytes"]).split(),
        song["folder"],
    ]
    assert second.startswith("short.txt ")
    (Path(short["folder"]) / "corpus.json").unlink()
    *_, last = call("prepare", "--list").out.splitlines()
    assert last.startswith("?                        damaged, or of another version of carousel")
    with Lock(Path(f"{song['folder']}.lock")):
        kept = call("prepare", "--clear")
    assert kept.err == f"skipped {song['folder']}: it is in use\n"
    assert re.fullmatch(rf"\d+ bytes freed: 1 text deleted from {cache}\n", kept.out)
    cleared = facts(call("prepare", "--clear", "--json"))
    assert cleared["freed"] >= song["bytes"]
    assert (cleared["removed"], cleared["skipped"]) == ([song["folder"]], [])
    again = call("prepare", "--clear")
    assert again == Result(0, f"0 bytes freed: 0 texts deleted from {cache}\n", "")


def test_the_cache_folder_can_be_chosen_everywhere(tmp_path: Path, call: Call) -> None:
    own = ("--cache-dir", "own")
    assert facts(call("prepare", "song.txt", "--json", *own))["folder"] == f"own/{SHA256[:32]}"
    assert call("train", "song.txt", "--out", "run", *TINY, "--steps", "1", *own).code == 0
    assert call("eval", "run", "song.txt", *own).code == 0
    assert not (tmp_path / "cache").exists()
    assert len(facts(call("prepare", "--list", "--json", *own))) == 1


def test_texts_of_another_encoding_train_and_are_judged(tmp_path: Path, call: Call) -> None:
    Path("wide.txt").write_bytes(TEXT.encode("utf-16"))
    wide = ("--encoding", "utf-16")
    assert facts(call("prepare", "wide.txt", "--json", *wide))["sha256"] == SHA256
    assert call("train", "wide.txt", "--out", "run", *TINY, "--steps", "1", *wide).code == 0
    assert call("eval", "run", "wide.txt", "--part", "test", *wide).code == 0
    refused = call("eval", "run", "wide.txt")
    assert refused.code == 1
    assert "it looks like UTF-16: --encoding utf-16" in refused.err
    unknown = call("prepare", "wide.txt", "--encoding", "utf-99")
    assert (unknown.code, unknown.err.count("\n")) == (2, 1)
    assert "encoding must be one that Python reads text in" in unknown.err


def test_folders_and_compressed_files_give_runs_their_names(tmp_path: Path, call: Call) -> None:
    Path("zipped.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    (tmp_path / "tales").mkdir()
    Path("tales/a.txt").write_text(TEXT)
    Path("tales/b.md").write_text("left out")
    assert facts(call("prepare", "zipped.txt.gz", "--json"))["name"] == "zipped.txt"
    found = facts(call("prepare", "tales", "--pattern", "*.txt", "--json"))
    assert (found["name"], found["sha256"]) == ("tales", SHA256)
    for arguments in (["zipped.txt.gz"], ["tales", "--pattern", "*.txt"]):
        assert call("train", *arguments, *TINY, "--steps", "1").code == 0
    assert {path.name for path in Path("runs").iterdir()} == {"zipped", "tales"}


def piped(cwd: Path, content: bytes, *arguments: str) -> Result:
    """Run a command with something on its stdin."""
    done = subprocess.run(
        [sys.executable, "-m", "carousel", *arguments],
        input=content,
        cwd=cwd,
        env=environment(cwd),
        capture_output=True,
        timeout=120,
        check=False,
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_text_may_come_through_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("and more")
    found = facts(piped(tmp_path, TEXT.encode(), "prepare", "-", "--json"))
    assert (found["name"], found["sha256"]) == ("stdin", SHA256)
    joined = facts(piped(tmp_path, b"one", "prepare", "more.txt", "-", "--json"))
    assert joined["name"] == "more.txt and 1 more"
    assert joined["sha256"] == hashlib.sha256(b"and more\n\none").hexdigest()
    wide = piped(tmp_path, TEXT.encode("utf-16"), "prepare", "-", "--json", "--encoding", "utf-16")
    assert facts(wide)["sha256"] == SHA256
    trained = piped(tmp_path, TEXT.encode(), "train", "-", *TINY, "--steps", "1")
    assert trained.code == 0, trained.err
    assert (tmp_path / "runs" / "stdin").is_dir()
    assert hidden(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "arguments", "code", "message"),
    [
        (b"", ["-"], 1, "stdin is empty"),
        (b"\xef\xbb\xbf", ["-"], 1, "stdin is empty"),
        (b"ab\xff", ["-"], 1, "stdin is not UTF-8: byte 0xff at offset 2; "),
        (b"a", ["-", "-"], 2, "- stands for stdin, which can be read only once"),
    ],
)
def test_what_cannot_be_read_from_a_pipe(
    content: bytes, arguments: list[str], code: int, message: str, tmp_path: Path
) -> None:
    result = piped(tmp_path, content, "prepare", *arguments)
    assert result.err.startswith(f"carousel prepare: {message}"), result.err
    assert (result.code, result.out, result.err.count("\n")) == (code, "", 1)
    assert str(tmp_path) not in result.err
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("method", ["contiguous", "exact"])
@pytest.mark.parametrize("characters", [0, 1, 2, 50])
def test_a_text_too_short_for_anything_is_one_line(
    characters: int, method: str, tmp_path: Path, call: Call
) -> None:
    Path("one.txt").write_text(TEXT[:characters])
    result = call("train", "one.txt", "--split", method)
    messages = {
        0: r"one\.txt is empty",
        1: r"one\.txt has 1 characters?, too few to split: the \w+ part would be empty",
        2: r"one\.txt has 2 characters(, too few to split|: too few to validate on).*",
        50: r"the text has 45 characters, and a window of 128 needs 129: a smaller .* would work",
    }
    assert re.fullmatch(f"carousel train: {messages[characters]}\n", result.err), result.err
    assert (result.code, result.out) == (1, "")
    assert not Path("runs").exists()


def test_without_room_it_says_what_would_help(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = SimpleNamespace(disk_usage=lambda folder: SimpleNamespace(free=0))
    monkeypatch.setattr(cache_module, "shutil", nothing)
    message = (
        f"carousel prepare: the cache needs 1.1 MB and {tmp_path / 'cache'} has 0 bytes free: "
        "make room, or name another folder with --cache-dir\n"
    )
    assert call("prepare", "song.txt") == Result(1, "", message)


def test_on_a_terminal_it_shows_how_far_and_how_fast(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(*arguments: object, progress: Callable[[str, int, int], None], **more: object) -> None:
        progress("reading", 10**9, 10**9)
        for done in range(0, 6 * 10**8, 10**8):
            progress("writing", done, 10**9)

    shown, seconds = io.StringIO(), count()
    terminal = Console(file=shown, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(terminal, "get_time", lambda: next(seconds))
    monkeypatch.setattr(text_source, "console", terminal)
    monkeypatch.setattr(text_source, "prepare", half)
    text_source.prepare_shown((Path("song.txt"),), PLAIN, None)
    line = r"(?<=\x1b\[2K)writing ━+ +100\.0 MB/s 0:00:05\n"
    assert re.search(line, shown.getvalue().replace("\r", "")), shown.getvalue()
