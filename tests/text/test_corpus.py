"""Text files to ids on disk: exact, streamed, cached, and never wrong."""

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.errors import TextError
from carousel.text import corpus as module
from carousel.text import reading
from carousel.text.corpus import Corpus, encode_with, prepare, prepare_text
from carousel.text.reading import read_text
from carousel.text.vocabulary import Vocabulary
from conftest import CORPORA

TEXT = "Once.\n\nTwice,\n\n\nthrice: 😀é\n"
BORDERS = [7, 16]


def written(folder: Path, content: str | bytes, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def text_of(corpus: Corpus) -> str:
    return corpus.vocabulary.decode(corpus.ids)


@pytest.fixture(params=[1, 2, 3, 5, 1 << 20])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How much is read at a time: also so little that everything falls on a border."""
    monkeypatch.setattr(reading, "BLOCK", request.param)
    monkeypatch.setattr(module, "BLOCK", request.param)
    return request.param


@pytest.fixture
def tiny_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:  # not the fixture: hypothesis repeats the test
        patch.setattr(reading, "BLOCK", 3)
        patch.setattr(module, "BLOCK", 3)
        yield


def test_a_file_becomes_ids(block: int, tmp_path: Path) -> None:
    corpus = prepare([written(tmp_path, TEXT)], cache=tmp_path / "cache")
    assert text_of(corpus) == TEXT
    assert corpus.vocabulary == Vocabulary.from_text(TEXT)
    assert corpus.borders.tolist() == BORDERS
    assert corpus.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()
    assert (corpus.name, len(corpus), corpus.ids.dtype) == ("a.txt", len(TEXT), np.uint8)
    assert not corpus.ids.flags.writeable


PIECES = st.sampled_from(["\n", "\n\n", "\r", "\r\n", "a", "é", "\ufeff"]) | st.text()


@pytest.mark.usefixtures("tiny_blocks")
@settings(deadline=None)
@given(st.lists(PIECES).map("".join))
def test_any_text_comes_back(text: str) -> None:
    expected = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), text)
        if not expected:
            with pytest.raises(TextError, match=r"a\.txt is empty$"):
                prepare([path], cache=Path(folder))
            return
        corpus = prepare([path], cache=Path(folder))
        assert text_of(corpus) == expected
        starts = [match.end() for match in re.finditer(r"\n\n+(?=[^\n])", expected)]
        assert corpus.borders.tolist() == starts
        assert prepare_text(expected, "same", cache=Path(folder)).sha256 == corpus.sha256


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        ("a", "b", "a\n\nb"),
        ("a\n", "b", "a\n\nb"),
        ("a\r\n\r\n", "\ufeffb", "a\n\nb"),
        ("a\n\n\n", "b\r", "a\n\n\nb\n"),
        ("\n", "\nb", "\n\n\nb"),
        ("a\n", "\ufeff\ufeff\ufeffb", "a\n\n\ufeff\ufeffb"),
    ],
)
def test_a_blank_line_stands_between_files(
    first: str, second: str, joined: str, block: int, tmp_path: Path
) -> None:
    paths = [written(tmp_path, first, "1"), written(tmp_path, second, "2")]
    corpus = prepare(paths, cache=tmp_path / "cache")
    assert text_of(corpus) == "".join(read_text(paths)) == joined
    assert corpus.borders.tolist() == [re.search(r"\n\n+(?=[^\n])", joined).end()]
    assert corpus.name == "1 and 1 more"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a\.txt is empty$"),
        ("\ufeff".encode(), r"a\.txt is empty$"),
        (
            b"abcdefg\xe9h",
            r"a\.txt is not UTF-8: byte 0xe9 at offset 7; convert it to UTF-8 first$",
        ),
        ("aé😀".encode()[:-1], "byte 0xf0 at offset 3;"),
        (b"\xff\xfea\0", "byte 0xff at offset 0;"),
        (b"abc\xed\xa0\x80", "byte 0xed at offset 3;"),  # half a surrogate pair
    ],
)
def test_refuses_what_is_no_text(content: bytes, message: str, block: int, tmp_path: Path) -> None:
    with pytest.raises(TextError, match=message):
        prepare([written(tmp_path, content)], cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_refuses_paths_that_are_no_files(tmp_path: Path) -> None:
    file, empty = written(tmp_path, TEXT), written(tmp_path, "", "empty")
    os.mkfifo(tmp_path / "pipe")
    for path, message in {
        tmp_path / "gone.txt": "no such file: .*gone.txt$",
        file / "below": "no such file: .*below$",
        tmp_path: f"{tmp_path} is a folder; name the text files in it$",
        tmp_path / "pipe": "pipe is not a regular file; save its content to one first$",
        empty: "empty is empty$",
    }.items():
        with pytest.raises(TextError, match=message):
            read_text([file, path])  # at once: before a byte of the first file is read
        with pytest.raises(TextError, match=message):
            prepare([file, path], cache=tmp_path / "cache")
    with pytest.raises(TextError, match="no text given: name at least one file"):
        prepare([], cache=tmp_path / "cache")


def test_a_text_at_hand_is_treated_as_a_file_is(tmp_path: Path) -> None:
    assert text_of(prepare_text("a\r\nb\rc", "tales", cache=tmp_path)) == "a\nb\nc"
    with pytest.raises(TextError, match="the text is empty"):
        prepare_text("", "tales", cache=tmp_path)
    with pytest.raises(TextError, match="half a surrogate pair"):
        prepare_text("a\ud83d", "tales", cache=tmp_path)


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """The folder of TEXT in a cache at tmp_path / "cache"."""
    sha256 = prepare_text(TEXT, "tales", cache=tmp_path / "cache").sha256
    return tmp_path / "cache" / sha256[:32]


def test_the_second_time_the_cache_answers(
    entry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_write", None)
    monkeypatch.setattr(module, "Lock", None)  # and a cache that cannot be written will do
    corpus = prepare([written(tmp_path, TEXT)], cache=entry.parent)
    assert text_of(corpus) == TEXT
    assert corpus.name == "a.txt"  # by the path now given, not the one before


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def age(path: Path) -> None:
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "version": module.VERSION + 1}))


DAMAGES = {
    "flipped": flip,
    "cut": lambda path: os.truncate(path, path.stat().st_size - 1),
    "emptied": lambda path: os.truncate(path, 0),
    "lengthened": lambda path: path.write_bytes(path.read_bytes() + b"\0" * 8),
    "gone": lambda path: path.unlink(),
}
FILES = ["ids.bin", "borders.bin", "vocabulary.json", "corpus.json"]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *((name, damage) for name in FILES for damage in DAMAGES.values()),
        ("corpus.json", age),
        ("corpus.json", lambda path: path.write_text("[]")),
    ],
)
def test_a_damaged_entry_is_made_anew(name: str, damage: object, entry: Path) -> None:
    sound = {path.name: path.read_bytes() for path in entry.iterdir()}
    assert callable(damage)
    damage(entry / name)
    corpus = prepare_text(TEXT, "tales", cache=entry.parent)
    assert text_of(corpus) == TEXT
    assert corpus.borders.tolist() == BORDERS
    harmless = name == "corpus.json" and damage is flip  # in the name, which is not used
    assert harmless or {path.name: path.read_bytes() for path in entry.iterdir()} == sound
    assert {path.name for path in entry.parent.iterdir()} == {entry.name, f"{entry.name}.lock"}


def test_another_text_is_another_entry(entry: Path) -> None:
    other = prepare_text(TEXT + "!", "tales", cache=entry.parent)
    assert text_of(other) == TEXT + "!"
    assert text_of(prepare_text(TEXT, "tales", cache=entry.parent)) == TEXT
    shutil.rmtree(entry)
    shutil.copytree(entry.parent / other.sha256[:32], entry)  # sound, but of the wrong text
    assert text_of(prepare_text(TEXT, "tales", cache=entry.parent)) == TEXT


@pytest.mark.parametrize("change", ["Ones.", "new", ""])
def test_a_file_that_changes_meanwhile_is_refused(change: str, tmp_path: Path) -> None:
    path = written(tmp_path, TEXT)

    def between_the_readings(done: int, total: int) -> None:
        if done == total // 2:
            path.write_text(TEXT.replace("Once.", change))

    with pytest.raises(TextError, match=r"a\.txt changed while it was read; run the command again"):
        prepare([path], cache=tmp_path / "cache", progress=between_the_readings)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("carousel.files._sync", full)
        with pytest.raises(OSError, match="No space left on device"):
            prepare_text(TEXT, "tales", cache=tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
    assert text_of(prepare_text(TEXT, "tales", cache=tmp_path)) == TEXT


RACER = """
import sys, time
from pathlib import Path
from carousel.text import corpus

def slowly(*arguments, write=corpus._write):
    print("wrote", flush=True)
    time.sleep(0.5)
    write(*arguments)

corpus._write = slowly
result = corpus.prepare([Path(sys.argv[1])], cache=Path(sys.argv[2]))
print(result.vocabulary.decode(result.ids[:5]), len(result), flush=True)
"""


def test_of_two_processes_one_prepares_and_the_other_waits(tmp_path: Path) -> None:
    path, cache = written(tmp_path, TEXT), tmp_path / "cache"
    (cache / ".tmp-gone-1-01234567").mkdir(parents=True)  # somebody else's work
    arguments = [sys.executable, "-c", RACER, str(path), str(cache)]
    racers = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = sorted(racer.communicate()[0] for racer in racers)
    assert outputs == [f"Once. {len(TEXT)}\n", f"wrote\nOnce. {len(TEXT)}\n"]
    assert (cache / ".tmp-gone-1-01234567").exists()


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    path = written(tmp_path, "0123456789é" * 2_000_000)  # 24 MB in a single line
    tracemalloc.start()
    try:
        corpus = prepare([path], cache=tmp_path / "cache")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(corpus) == 22_000_000
    assert peak < 20e6  # the text alone would take 44e6, its code points 88e6


def test_progress_counts_both_readings(block: int, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = written(tmp_path, TEXT)
    total = 2 * path.stat().st_size
    for _ in range(2):  # made, then found
        prepare([path], cache=tmp_path / "cache", progress=lambda *at: seen.append(at))
        assert all(of == total for _, of in seen)
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert seen[-1] == (total, total)
        seen.clear()


def test_encodes_with_the_vocabulary_of_a_model(block: int, tmp_path: Path) -> None:
    many = [chr(code) for code in range(0xE000, 0xE000 + 300)]  # ids of two bytes
    vocabulary = Vocabulary.from_characters([*TEXT, *"xyz", *many])
    paths = [written(tmp_path, TEXT, "1"), written(tmp_path, "xyz\r\n", "2")]
    ids = encode_with(vocabulary, paths)
    assert ids.dtype == vocabulary.dtype
    assert vocabulary.decode(ids) == TEXT + "\nxyz\n"
    position = len(TEXT) + 1
    with pytest.raises(TextError, match=rf"'x' \(U\+0078\) at position {position} is not among"):
        encode_with(Vocabulary.from_characters([*TEXT, *many]), paths)


NAMES = [
    "tinyshakespeare/input.txt",
    "children_stories/stories.txt",
    "war_and_peace/warpeace_input.txt",
    *(f"unicode/{name}" for name in ("arabic_tatoeba.txt", "hindi_tatoeba.txt", "emoji_test.txt")),
    *(f"unicode/{name}" for name in ("chinese_shanhaijing.txt", "udhr_all_languages.txt")),
]


@pytest.mark.skipif(not CORPORA.is_dir(), reason="the optional folder of corpora is absent")
@pytest.mark.parametrize("name", NAMES)
def test_real_texts_come_back(name: str, tmp_path: Path) -> None:
    raw = (CORPORA / name).read_bytes()
    corpus = prepare([CORPORA / name], cache=tmp_path)
    expected = raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    assert text_of(corpus) == expected
    assert corpus.sha256 == hashlib.sha256(expected.encode()).hexdigest()
