"""A prepared text that somebody rewrote, checksums and all, is made anew."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from carousel.data.cache_entry import checksums
from carousel.data.corpus import Corpus, prepare

TEXT = "one two\n\nthree four\n\nfive\n"


def ids(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        change(np.fromfile(folder / "ids.bin", np.uint8)).tofile(folder / "ids.bin")

    return write


def borders(*values: int) -> Callable[[Path], None]:
    return lambda folder: np.array(values, np.int64).tofile(folder / "borders.bin")


def vocabulary(change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = folder / "vocabulary.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))) + "\n")

    return write


BROKEN = {
    "an id without a character": ids(lambda a: np.where(a == a.max(), 200, a).astype(np.uint8)),
    "borders that fall": borders(21, 9),
    "borders that repeat": borders(9, 9),
    "a border before the text": borders(-1, 9),
    "a border at its beginning": borders(0, 9),
    "a border beyond the text": borders(9, 1000),
    "characters in another order": vocabulary(lambda v: v[::-1]),
    "a character twice": vocabulary(lambda v: [*v[:-1], v[0]]),
    "two characters in one": vocabulary(lambda v: [*v[:-1], "ab"]),
}
ANOTHER_TEXT = {
    "ids in reverse": ids(lambda a: a[::-1].copy()),
    "another character": vocabulary(lambda v: [*v[:-1], "\u8a9e"]),
    "a character that never comes": vocabulary(lambda v: [*v, "\u8a9e"]),
}


def rewritten(folder: Path, change: Callable[[Path], None]) -> None:
    """Change an entry, with all that corpus.json says of it."""
    change(folder)
    about = json.loads((folder / "corpus.json").read_text())
    symbols = len(json.loads((folder / "vocabulary.json").read_text()))
    about |= {"checksums": checksums(folder, lambda done, total: None), "symbols": symbols}
    (folder / "corpus.json").write_text(json.dumps(about, indent=2))


def opened(tmp_path: Path, *, is_exact: bool) -> Corpus:
    return prepare([tmp_path / "a.txt"], cache=tmp_path / "cache", is_exact=is_exact)


def text_of(corpus: Corpus) -> str:
    return corpus.vocabulary.decode(corpus.ids)


@pytest.mark.parametrize(
    ("kind", "is_exact"),
    [*((kind, False) for kind in BROKEN), *((kind, True) for kind in BROKEN | ANOTHER_TEXT)],
)
def test_an_entry_that_was_rewritten_is_made_anew(
    tmp_path: Path, kind: str, is_exact: bool
) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    folder = opened(tmp_path, is_exact=False).folder
    assert folder is not None
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    rewritten(folder, (BROKEN | ANOTHER_TEXT)[kind])
    assert text_of(opened(tmp_path, is_exact=is_exact)) == TEXT
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_sound_entry_is_taken_by_either_check(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    folder = opened(tmp_path, is_exact=False).folder
    assert folder is not None
    inode = (folder / "ids.bin").stat().st_ino
    for is_exact in (False, True):
        assert text_of(opened(tmp_path, is_exact=is_exact)) == TEXT
    assert (folder / "ids.bin").stat().st_ino == inode
