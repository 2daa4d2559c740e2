"""The cache: the room it takes, the list of what it keeps, and its clearing."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from carousel.data import cache as module
from carousel.data.cache import (
    clear,
    in_bytes,
    kept,
    lock_of,
    size_on_disk,
)
from carousel.data.corpus import Corpus, prepare, prepare_text
from carousel.errors import StorageError
from carousel.files import Lock

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


def test_without_room_nothing_is_written(
    path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=1_000_000)
    monkeypatch.setattr(module, "shutil", SimpleNamespace(disk_usage=lambda folder: usage))
    message = (
        rf"^the cache needs 1\.0 MB and {cache} has 1\.0 MB free: make room, or name another "
        r"folder with --cache-dir$"
    )
    with pytest.raises(StorageError, match=message):
        prepare([path], cache=cache)
    assert [each.suffix for each in cache.iterdir()] == [".lock"]
    usage.free = 2_000_000
    assert text_of(prepare([path], cache=cache)) == TEXT


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_499, "999.5 kB"),
        (999_500, "1.0 MB"),
        (20_149_000, "20.1 MB"),
        (5_123_000_000, "5.1 GB"),
        (5_123_000_000_000, "5123.0 GB"),
    ],
)
def test_sizes_are_said_in_the_unit_that_suits_them(count: int, words: str) -> None:
    assert in_bytes(count) == words


def test_sizes_are_those_of_files_and_follow_no_link(tmp_path: Path) -> None:
    (folder := tmp_path / "a" / "b").mkdir(parents=True)
    (folder / "file").write_bytes(bytes(1000))
    (folder / "loop").symlink_to(".")
    (folder / "above").symlink_to(tmp_path)
    links = sum((folder / name).lstat().st_size for name in ("loop", "above"))
    assert size_on_disk(tmp_path) == 1000 + links
    assert size_on_disk(tmp_path / "nowhere") == 0


def test_the_list_names_what_is_kept(cache: Path) -> None:
    assert kept(cache) == []
    small = prepare_text("aab", "small", cache=cache)
    large = prepare_text("ab\n\n" * 1000, "large", cache=cache)
    spoiled = prepare_text("c", "spoiled", cache=cache)
    assert small.folder is not None
    assert large.folder is not None
    assert spoiled.folder is not None
    (spoiled.folder / "corpus.json").write_text("{}")
    (cache / ("0" * 32)).write_text("a file")
    (cache / ("1" * 32)).mkdir()
    (cache / ("1" * 32) / "holiday.jpg").write_text("not ours")
    found = {each.folder: each for each in kept(cache)}
    assert set(found) == {small.folder, large.folder, spoiled.folder}
    assert found[small.folder].summary == ("small", small.sha256, 3, 2, 1)
    assert found[large.folder].summary == ("large", large.sha256, 4000, 3, 1000)
    assert found[spoiled.folder].summary is None
    sizes = [each.size for each in kept(cache)]
    assert sizes == sorted(sizes, reverse=True)
    assert found[large.folder].size == sum(p.stat().st_size for p in large.folder.iterdir())


def test_clearing_deletes_what_is_ours_and_nothing_else(
    path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RACY", -(10**12))  # so that the file is old enough for a stamp
    corpus = prepare([path], cache=cache)
    assert corpus.folder is not None
    leftover = cache / f".tmp-{corpus.folder.name}-1-01234567"
    leftover.mkdir()
    (leftover / "ids.bin").write_bytes(bytes(1000))
    spool = cache / ".tmp-stdin-1-1-01234567"
    spool.write_bytes(bytes(500))
    (cache / "stdin-1.lock").write_text(str(os.getpid()))
    (cache / "stamps" / f".tmp-{'0' * 64}-1-01234567").touch()
    theirs = [cache / "letter.txt", cache / ("2" * 32) / "holiday.jpg", cache / "stamps" / "penny"]
    for each in theirs:
        each.parent.mkdir(exist_ok=True)
        each.write_text("not ours")
    before = size_on_disk(cache)
    cleared = clear(cache)
    assert cleared == (before - size_on_disk(cache), (corpus.folder,), ())
    assert cleared.freed > 1500
    locks = {lock_of(corpus.folder), cache / "stdin-1.lock"}
    assert {each for each in cache.rglob("*") if each.is_file()} == {*theirs, *locks}
    assert text_of(prepare([path], cache=cache)) == TEXT
    assert clear(cache.parent / "nowhere") == (0, (), ())


def test_clearing_leaves_what_another_is_making(cache: Path) -> None:
    busy, idle = (prepare_text(text, text, cache=cache).folder for text in ("busy", "idle"))
    assert busy is not None
    assert idle is not None
    work = cache / f".tmp-{busy.name}-1-01234567"
    work.mkdir()
    with Lock(lock_of(busy)):
        assert clear(cache)[1:] == ((idle,), (busy,))
        assert busy.exists()
        assert work.exists()
    assert clear(cache)[1:] == ((busy,), ())
    assert not work.exists()
