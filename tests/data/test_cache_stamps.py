"""Files that have not changed are not read again; those that may have changed always are."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from carousel.data import cache as module
from carousel.data import corpus as corpus_module
from carousel.data.cache import (
    Stamp,
    recall,
    stamp,
)
from carousel.data.corpus import Corpus, prepare
from carousel.data.reading import PLAIN, Reading

TEXT = "Once.\n\nTwice,\n\n\nthrice: é\n"
SECOND = 1_000_000_000  # nanoseconds


def text_of(corpus: Corpus) -> str:
    return corpus.vocabulary.decode(corpus.ids)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text(TEXT, encoding="utf-8", newline="\n")
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let the clock say that so many seconds have gone by."""

    def let(seconds: float) -> None:
        now = time.time_ns() + int(seconds * SECOND)
        monkeypatch.setattr(module, "time", SimpleNamespace(time_ns=lambda: now))

    return let


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was read."""
    read = corpus_module.read_text
    log: list[object] = []

    def reads(*arguments: object) -> object:
        log.append(arguments[0])
        return read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(corpus_module, "read_text", reads)
    return log


def test_a_file_that_has_not_changed_is_not_read_again(
    path: Path,
    cache: Path,
    later: Callable[[float], None],
    readings: list[object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later(2.1)
    assert text_of(prepare([path], cache=cache)) == TEXT
    assert len(readings) == 2
    again = prepare([path], cache=cache)
    assert (text_of(again), again.name) == (TEXT, "a.txt")
    assert len(readings) == 2
    monkeypatch.chdir(path.parent)
    assert text_of(prepare([Path("a.txt")], cache=cache)) == TEXT  # by whatever name
    assert len(readings) == 2


def touched(path: Path) -> None:
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))


def replaced(path: Path) -> None:
    """As editors and rsync do: another file of the same name, size and time."""
    state = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1].replace("é".encode()[::-1], "é".encode()))
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    other.replace(path)


def overwritten_with_its_time_kept(path: Path) -> None:
    """Only the time of the change of the inode, which nobody can set, gives it away."""
    state = path.stat()
    time.sleep(0.02)
    with path.open("r+b") as file:
        file.write(b"o")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_mtime_ns == state.st_mtime_ns


CHANGES: dict[str, Callable[[Path], object]] = {
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"!"),
    "touched": touched,
    "replaced": replaced,
    "overwritten with its time kept": overwritten_with_its_time_kept,
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_of_a_file_it_is_read_again(
    change: str,
    path: Path,
    cache: Path,
    later: Callable[[float], None],
    readings: list[object],
) -> None:
    later(3)
    prepare([path], cache=cache)
    readings.clear()
    CHANGES[change](path)
    corpus = prepare([path], cache=cache)
    assert text_of(corpus) == path.read_text(encoding="utf-8")
    assert readings


def test_other_files_or_another_reading_are_read(
    path: Path, cache: Path, later: Callable[[float], None], readings: list[object]
) -> None:
    later(3)
    prepare([path], cache=cache)
    for paths, reading in [([path, path], PLAIN), ([path], Reading(encoding="latin-1"))]:
        readings.clear()
        corpus = prepare(paths, cache=cache, reading=reading)
        assert len(readings) == 2
        expected = "\n".join(each.read_text(reading.encoding) for each in paths)
        assert text_of(corpus) == expected


@pytest.mark.parametrize("seconds", [-3600, 0, 1.5])
def test_a_file_so_young_that_it_may_change_unseen_gets_no_stamp(
    seconds: float,
    path: Path,
    cache: Path,
    later: Callable[[float], None],
    readings: list[object],
) -> None:
    """Also where the clock was set back, so that the file is of the future."""
    later(seconds)
    prepare([path], cache=cache)
    assert not (cache / "stamps").exists()
    prepare([path], cache=cache)
    assert len(readings) == 3  # the text is hashed again, and found
    later(2.5)
    prepare([path], cache=cache)
    prepare([path], cache=cache)
    assert len(readings) == 4


def test_one_young_file_of_many_keeps_all_from_a_stamp(
    path: Path, cache: Path, later: Callable[[float], None]
) -> None:
    young = path.with_name("b.txt")
    young.write_text("b")
    os.utime(young, ns=(0, time.time_ns() + 3600 * SECOND))
    later(3)
    prepare([path, young], cache=cache)
    assert not (cache / "stamps").exists()


@pytest.mark.parametrize("fact", ["path", "st_size", "st_mtime_ns", "st_ctime_ns", "st_ino"])
def test_each_fact_of_a_file_has_its_say_in_the_stamp(fact: str) -> None:
    """Also where a system keeps fewer of them up to date than this one."""

    def file(**changes: object) -> Any:
        facts = {"st_size": 5, "st_mtime_ns": 6, "st_ctime_ns": 7, "st_ino": 8, "path": "a"}
        facts |= changes
        return SimpleNamespace(resolve=lambda: facts["path"], stat=lambda: SimpleNamespace(**facts))

    other = "b" if fact == "path" else 9
    keys = [stamp(files, PLAIN).key for files in ([file()], [file()], [file(**{fact: other})])]
    assert keys[0] == keys[1] != keys[2]
    assert stamp([file(), file()], PLAIN).key != keys[0]


STAMPS: dict[str, bytes] = {
    "empty": b"",
    "cut": hashlib.sha256(TEXT.encode()).hexdigest()[:-1].encode(),
    "flipped": hashlib.sha256(TEXT.encode() + b"!").hexdigest().encode(),
    "a path": b"../" * 21 + b"a",
    "no text": b"\xff" * 64,
}


@pytest.mark.parametrize("damage", STAMPS)
def test_a_damaged_stamp_is_ignored_and_written_anew(
    damage: str, path: Path, cache: Path, later: Callable[[float], None], readings: list[object]
) -> None:
    later(3)
    sha256 = prepare([path], cache=cache).sha256
    [path_of_stamp] = (cache / "stamps").iterdir()
    assert path_of_stamp.read_text() == sha256
    path_of_stamp.write_bytes(STAMPS[damage])
    known = recall(cache, Stamp(path_of_stamp.name, is_settled=True))
    assert known == (STAMPS[damage].decode() if damage == "flipped" else None)
    readings.clear()
    assert text_of(prepare([path], cache=cache)) == TEXT
    assert len(readings) == 1
    assert path_of_stamp.read_text() == sha256


def test_a_stamp_whose_entry_is_damaged_makes_it_anew(
    path: Path, cache: Path, later: Callable[[float], None], readings: list[object]
) -> None:
    later(3)
    folder = prepare([path], cache=cache).folder
    assert folder is not None
    (folder / "ids.bin").write_bytes(bytes(len(TEXT)))
    readings.clear()
    assert text_of(prepare([path], cache=cache)) == TEXT
    assert len(readings) == 2


def test_a_cache_without_room_for_stamps_is_none_the_worse(
    path: Path, cache: Path, later: Callable[[float], None]
) -> None:
    later(3)
    cache.mkdir()
    (cache / "stamps").write_text("in the way")
    assert text_of(prepare([path], cache=cache)) == TEXT
    assert text_of(prepare([path], cache=cache)) == TEXT
