"""Text files to ids on disk: exact, streamed, cached, and never wrong."""

import gzip
import hashlib
import os
import re
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

from carousel.data import cache_entry, documents, parallel, reading
from carousel.data import corpus as module
from carousel.data.corpus import PHASES, Corpus, name_of, prepare, prepare_text
from carousel.data.reading import Reading, read_text
from carousel.data.vocabulary import Vocabulary
from carousel.errors import TextError
from conftest import CORPORA

TEXT = "Once.\n\nTwice,\n\n\nthrice: 😀é\n"
BORDERS = [7, 16]


def written(folder: Path, content: str | bytes, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def text_of(corpus: Corpus) -> str:
    return corpus.vocabulary.decode(corpus.ids)


def cut_small(patch: pytest.MonkeyPatch, size: int) -> None:
    """Let everything fall on a border between two blocks, in more threads than there are cores."""
    for place in (reading, module, documents):
        patch.setattr(place, "BLOCK", size)
    patch.setattr(cache_entry, "CHECKED", 7 * size)
    patch.setattr(parallel, "available_processors", lambda: 4)


@pytest.fixture(params=[1, 2, 3, 5, 1 << 20])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How much is read at a time: also very little."""
    cut_small(monkeypatch, request.param)
    return request.param


@pytest.fixture
def tiny_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:  # not the fixture: hypothesis repeats the test
        cut_small(patch, 3)
        yield


def test_a_file_becomes_ids(block: int, tmp_path: Path) -> None:
    corpus = prepare([written(tmp_path, TEXT)], cache=tmp_path / "cache")
    assert text_of(corpus) == TEXT
    assert corpus.vocabulary == Vocabulary.from_text(TEXT)
    assert corpus.borders.tolist() == BORDERS
    assert corpus.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()
    assert (corpus.name, len(corpus), corpus.ids.dtype) == ("a.txt", len(TEXT), np.uint8)
    assert corpus.folder == tmp_path / "cache" / corpus.sha256[:32]
    assert not any(
        array.flags.writeable for array in (corpus.ids, corpus.borders, corpus.fingerprints)
    )


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
        assert len(corpus.fingerprints) == len(starts) + 1
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
        (b"abcdefg\xe9h", r"a\.txt is not UTF-8: byte 0xe9 at offset 7; --encoding NAME reads "),
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
    (tmp_path / "none").mkdir()
    for path, message in {
        tmp_path / "gone.txt": "no such file: .*gone.txt$",
        file / "below": "no such file: .*below$",
        tmp_path / "none": "folder .*none has no file that fits",
        tmp_path / "pipe": "pipe is not a regular file; save its content to one first$",
        empty: "empty is empty$",
    }.items():
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


@pytest.mark.parametrize("change", ["Ones.", "new", ""])
def test_a_file_that_changes_meanwhile_is_refused(change: str, tmp_path: Path) -> None:
    path = written(tmp_path, TEXT)

    def between_the_readings(phase: str, done: int, total: int) -> None:
        if (phase, done) == ("reading", total):
            path.write_text(TEXT.replace("Once.", change))

    with pytest.raises(TextError, match=r"a\.txt changed while it was read; run the command again"):
        prepare([path], cache=tmp_path / "cache", progress=between_the_readings)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


RACER = """
import sys, time
from pathlib import Path
from carousel.data import corpus

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


def test_memory_does_not_grow_with_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "available_processors", lambda: 2)
    path = written(tmp_path, "0123456789é" * 4_000_000)  # 48 MB in a single line
    tracemalloc.start()
    try:
        corpus = prepare([path], cache=tmp_path / "cache")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(corpus) == 44_000_000
    assert peak < 40e6  # the text alone would take 44e6, its code points 176e6


def test_progress_tells_what_is_done_and_how_far(block: int, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    path, cache = written(tmp_path, TEXT), tmp_path / "cache"
    size, made = path.stat().st_size, {"reading", "writing", "indexing"}
    for phases in (made, {"reading", "checking"}):  # made, then found
        corpus = prepare([path], cache=cache, progress=lambda *at: seen.append(at))
        assert corpus.folder is not None
        sizes = {each.name: each.stat().st_size for each in corpus.folder.iterdir()}
        checked = sum(sizes.values()) - sizes["corpus.json"]
        totals = dict(zip(PHASES, (size, size, corpus.ids.nbytes, checked), strict=True))
        assert seen == sorted(seen, key=lambda at: (PHASES.index(at[0]), at[1]))
        assert {phase: max(at for at in seen if at[0] == phase)[1:] for phase in phases} == {
            phase: (totals[phase], totals[phase]) for phase in phases
        }
        assert {phase for phase, _, _ in seen} == phases
        seen.clear()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.txt"], "a.txt"),
        (["deep/a.txt", "b.txt", "c.txt"], "a.txt and 2 more"),
        (["a.txt.gz"], "a.txt"),
        (["a.txt.ZST", "b.txt"], "a.txt and 1 more"),
        (["tales"], "tales"),
        (["tales/", "a.txt"], "tales and 1 more"),
        (["tales/../tales/"], "tales"),
        (["tales.gz"], "tales.gz"),  # a folder
        (["."], "here"),
        (["/"], "text"),
    ],
)
def test_a_corpus_is_called_after_what_it_was_made_from(
    names: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here/tales", "here/tales.gz"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert name_of([Path(name) for name in names]) == expected


def test_folders_and_compressed_files_are_corpora(block: int, tmp_path: Path) -> None:
    (tmp_path / "tales").mkdir()
    written(tmp_path / "tales", "two", "b.txt")
    written(tmp_path / "tales", gzip.compress(b"one"), "a.txt.gz")
    written(tmp_path / "tales", "three", "c.md")
    prepared = prepare([tmp_path / "tales"], cache=tmp_path / "cache")
    assert (prepared.name, text_of(prepared)) == ("tales", "one\n\ntwo\n\nthree")
    only = prepare([tmp_path / "tales"], cache=tmp_path / "cache", reading=Reading(pattern="*.txt"))
    assert text_of(only) == "two"
    named = prepare([tmp_path / "tales" / "c.md"], cache=tmp_path / "cache", name="three")
    assert named.name == "three"


@pytest.mark.parametrize(
    ("symbols", "dtype"), [(1, "u1"), (256, "u1"), (257, "u2"), (65_536, "u2"), (65_537, "u4")]
)
def test_ids_are_as_narrow_as_the_alphabet_allows(symbols: int, dtype: str, tmp_path: Path) -> None:
    codes = [code for code in range(0x20, 0x20 + symbols + 2048) if not 0xD800 <= code < 0xE000]
    text = "".join(map(chr, codes[:symbols]))
    corpus = prepare([written(tmp_path, text)], cache=tmp_path / "cache")
    assert (len(corpus.vocabulary), corpus.ids.dtype) == (symbols, np.dtype(dtype))
    assert text_of(corpus) == text
    again = prepare([tmp_path / "a.txt"], cache=tmp_path / "cache")
    assert (again.ids.dtype, text_of(again)) == (np.dtype(dtype), text)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "cp1252", "shift_jis"])
def test_a_text_in_another_encoding_is_the_same_corpus(encoding: str, tmp_path: Path) -> None:
    text = {"shift_jis": "こんにちは\n世界"}.get(encoding, "größer\ncafé")
    path = written(tmp_path, text.encode(encoding))
    corpus = prepare([path], cache=tmp_path / "cache", reading=Reading(encoding=encoding))
    assert text_of(corpus) == text
    assert corpus.sha256 == hashlib.sha256(text.encode()).hexdigest()


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
