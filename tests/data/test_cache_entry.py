"""An entry of the cache: sound, or made anew."""

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from carousel.data import cache_entry
from carousel.data import corpus as module
from carousel.data.cache_entry import VERSION, bytes_needed, checksums, open_entry
from carousel.data.corpus import Corpus, prepare_text

TEXT = "Once.\n\nTwice,\n\n\nthrice: 😀é\n"
BORDERS = [7, 16]


def text_of(corpus: Corpus) -> str:
    return corpus.vocabulary.decode(corpus.ids)


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """The folder of TEXT in a cache at tmp_path / "cache"."""
    folder = prepare_text(TEXT, "tales", cache=tmp_path / "cache").folder
    assert folder is not None
    return folder


def test_an_entry_says_what_it_holds(entry: Path) -> None:
    about = json.loads((entry / "corpus.json").read_bytes())
    sums = about.pop("checksums")
    assert about == {
        "version": VERSION,
        "name": "tales",
        "sha256": prepare_text(TEXT, "tales", cache=entry.parent).sha256,
        "characters": len(TEXT),
        "symbols": len(set(TEXT)),
        "documents": 3,
    }
    assert (
        {path.name for path in entry.iterdir()} == set(cache_entry.FILES) == {*sums, "corpus.json"}
    )
    assert np.fromfile(entry / "borders.bin", np.int64).tolist() == BORDERS
    assert np.fromfile(entry / "fingerprints.bin", np.uint64).size == 3


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def saying(**changes: object) -> Callable[[Path], None]:
    """Return what changes a statement of corpus.json."""
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | changes)) and None


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": flip,
    "cut": lambda path: os.truncate(path, path.stat().st_size - 1),
    "cut by a number": lambda path: os.truncate(path, max(path.stat().st_size - 8, 0)),
    "emptied": lambda path: os.truncate(path, 0),
    "lengthened": lambda path: path.write_bytes(path.read_bytes() + b"\0" * 8),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}
STATEMENTS: dict[str, Callable[[Path], object]] = {
    "of another version": saying(version="1"),
    "of a version before": saying(version=1),
    "a list": lambda path: path.write_text("[]"),
    "a number": lambda path: path.write_text("3"),
    "too long": saying(characters=len(TEXT) + 1),
    "too many symbols": saying(symbols=1),
    "too many documents": saying(documents=4),
    "without checksums": saying(checksums={}),
    "checksums of another kind": saying(checksums=[1, 2]),
    "checksums that are none": saying(checksums=dict.fromkeys(cache_entry.FILES[:-1], 1)),
}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *((name, damage) for name in cache_entry.FILES for damage in DAMAGES),
        *(("corpus.json", damage) for damage in STATEMENTS),
    ],
)
@pytest.mark.parametrize("checked", [5, 1 << 26])
def test_a_damaged_entry_is_made_anew(
    name: str, damage: str, checked: int, entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_entry, "CHECKED", checked)
    shutil.rmtree(entry)
    prepare_text(TEXT, "tales", cache=entry.parent)
    sound = {path.name: path.read_bytes() for path in entry.iterdir()}
    (DAMAGES | STATEMENTS)[damage](entry / name)
    corpus = prepare_text(TEXT, "tales", cache=entry.parent)
    assert text_of(corpus) == TEXT
    assert corpus.borders.tolist() == BORDERS
    assert {path.name: path.read_bytes() for path in entry.iterdir()} == sound
    assert {path.name for path in entry.parent.iterdir()} == {entry.name, f"{entry.name}.lock"}


def test_another_text_is_another_entry(entry: Path) -> None:
    other = prepare_text(TEXT + "!", "tales", cache=entry.parent)
    assert text_of(other) == TEXT + "!"
    assert text_of(prepare_text(TEXT, "tales", cache=entry.parent)) == TEXT
    assert other.folder is not None
    shutil.rmtree(entry)
    shutil.copytree(other.folder, entry)  # sound, but of the wrong text
    assert text_of(prepare_text(TEXT, "tales", cache=entry.parent)) == TEXT


@pytest.mark.parametrize("checked", [1, 4, 7, 1000])
def test_every_byte_is_under_a_checksum(
    checked: int, entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_entry, "CHECKED", checked)
    steps: list[tuple[int, int]] = []
    sound = checksums(entry, lambda *step: steps.append(step))
    total = sum((entry / name).stat().st_size for name in sound)
    assert steps == sorted(steps)
    assert steps[-1] == (total, total)
    for name, sums in sound.items():
        content = (entry / name).read_bytes()
        assert len(sums) == -(-len(content) // checked)
        for place in range(len(content)):
            (entry / name).write_bytes(
                content[:place] + bytes([content[place] ^ 0x80]) + content[place + 1 :]
            )
            found = checksums(entry, lambda done, total: None)
            differing = [
                k for k, (a, b) in enumerate(zip(sums, found[name], strict=True)) if a != b
            ]
            assert differing == [place // checked]
        (entry / name).write_bytes(content)


@pytest.mark.parametrize("what", ["version", "text"])
def test_an_entry_of_something_else_is_refused_before_it_is_read(
    what: str, entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = hashlib.sha256(TEXT.encode()).hexdigest()
    open_entry(entry, sha256, lambda done, total: None)
    monkeypatch.setattr(cache_entry, "checksums", None)
    if what == "version":
        saying(version="1")(entry / "corpus.json")
    else:
        sha256 = sha256[::-1]
    with pytest.raises(ValueError, match="another text or version"):
        open_entry(entry, sha256, lambda done, total: None)


def test_what_a_killed_process_left_of_an_entry_is_deleted(entry: Path) -> None:
    shutil.rmtree(entry)
    (entry.parent / f".tmp-{entry.name}-1-01234567").mkdir()
    prepare_text(TEXT, "tales", cache=entry.parent)
    assert {path.name for path in entry.parent.iterdir()} == {entry.name, f"{entry.name}.lock"}


def test_the_room_asked_for_is_the_room_it_takes(tmp_path: Path) -> None:
    for text in ("a", TEXT, "a\n\n" * 100_000, "".join(map(chr, range(0xE000, 0x1A000)))):
        corpus = prepare_text(text, "a text", cache=tmp_path)
        assert corpus.folder is not None
        taken = sum(path.stat().st_size for path in corpus.folder.iterdir())
        asked = bytes_needed(corpus.vocabulary, len(corpus), len(corpus.fingerprints))
        assert taken <= asked <= 2 * taken + (1 << 20)


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("carousel.files.sync_file", full)
        with pytest.raises(OSError, match="No space left on device"):
            prepare_text(TEXT, "tales", cache=tmp_path / "cache")
    left = list(tmp_path.rglob("*.*"))
    assert [path.suffix for path in left] == [".lock"]
    assert text_of(prepare_text(TEXT, "tales", cache=tmp_path / "cache")) == TEXT


def test_a_cache_that_cannot_be_written_will_do_if_it_has_the_text(
    entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_write", None)
    monkeypatch.setattr(module, "Lock", None)
    corpus = prepare_text(TEXT, "another name", cache=entry.parent)
    assert text_of(corpus) == TEXT
    assert corpus.name == "another name"  # by the name now given, not the one before
