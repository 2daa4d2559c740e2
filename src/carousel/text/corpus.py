"""A text as ids on disk: streamed in, memory-mapped, cached under the SHA-256 of its content.

An entry of the cache is a folder named by the first half of that hash:

| file | content |
|---|---|
| ids.bin | the id of each character, uint8, uint16 or uint32 by the size of the vocabulary |
| borders.bin | int64 offsets, in characters, at which a document begins after a blank line |
| vocabulary.json | the characters in the order of their ids |
| corpus.json | version of this layout, name, SHA-256, sizes, and the CRC-32 of each other file |
"""

import hashlib
import json
import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carousel.errors import TextError
from carousel.files import (
    Lock,
    make_folder,
    publishing,
    remove_folder,
    remove_leftovers,
    user_cache_folder,
)
from carousel.text.reading import BLOCK, Advance, normalise_newlines, read_text, size_in_bytes
from carousel.text.vocabulary import Ids, Vocabulary, code_points

VERSION = 1  # of the layout above; an entry of another version is made anew

Progress = Callable[[int, int], None]  # bytes done, bytes in all; the text is read twice


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text of N characters, ready to be cut into batches.

    Attributes:
        name: What to call it.
        sha256: Of the text in UTF-8, line endings normalised.
        vocabulary: All its characters, V of them, in the order of their code points.
        ids: (N,), read-only, mapped from disk.
        borders: Where a document begins after a blank line, ascending; read-only, mapped from disk.
    """

    name: str
    sha256: str
    vocabulary: Vocabulary
    ids: Ids
    borders: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


def prepare(
    paths: Sequence[Path], *, cache: Path | None = None, progress: Progress | None = None
) -> Corpus:
    """Turn text files into a corpus, or find it in the cache.

    The files are UTF-8; a byte order mark is dropped, CRLF and CR become LF, and a blank line
    stands between two files. They are streamed: memory does not grow with them.

    Args:
        paths: At least one file.
        cache: Where corpora are kept; None takes the user's cache folder.
        progress: Called now and then with bytes done and bytes in all.

    Raises:
        TextError: If a file is missing, empty, a folder or not UTF-8, or changes meanwhile.
        OSError: If a file cannot be read or the cache not be written.
    """
    first, *more = (path.name for path in paths) if paths else ("",)
    name = f"{first} and {len(more)} more" if more else first
    source = _Source(name, size_in_bytes(paths), lambda advance: read_text(paths, advance))
    return _prepare(source, cache or user_cache_folder(), progress or (lambda done, total: None))


def prepare_text(
    text: str, name: str, *, cache: Path | None = None, progress: Progress | None = None
) -> Corpus:
    """Turn a text at hand into a corpus, as `prepare` does with files.

    Raises:
        TextError: If it is empty, or holds half a surrogate pair.
        OSError: If the cache cannot be written.
    """
    source = _Source(name, len(text), lambda advance: normalise_newlines(_slices(text, advance)))
    return _prepare(source, cache or user_cache_folder(), progress or (lambda done, total: None))


def encode_with(vocabulary: Vocabulary, paths: Sequence[Path]) -> Ids:
    """Encode text files, (N,), in memory, with the vocabulary of a model.

    Raises:
        TextError: If a file cannot be read as text, or holds a character that the vocabulary does
            not; the message gives its position in the joined text.
    """
    buffer = bytearray()
    for chunk in read_text(paths):
        position = len(buffer) // vocabulary.dtype.itemsize
        buffer += vocabulary.encode(chunk, position).tobytes()
    return np.frombuffer(buffer, vocabulary.dtype)


class _Source(NamedTuple):
    """A text that can be read more than once."""

    name: str
    size: int  # what `advance` adds up to
    chunks: Callable[[Advance], Iterator[str]]


class _Survey(NamedTuple):
    """What the first reading finds out."""

    sha256: str
    vocabulary: Vocabulary


def _prepare(source: _Source, cache: Path, progress: Progress) -> Corpus:
    advance = _meter(progress, 2 * source.size)
    survey = _survey(source.chunks(advance))
    entry = cache / survey.sha256[:32]
    corpus = _open_if_sound(entry, source.name, survey.sha256)
    if corpus is None:
        make_folder(cache)
        with Lock(entry.with_suffix(".lock"), timeout=math.inf):
            remove_leftovers(cache, entry.name)
            corpus = _open_if_sound(entry, source.name, survey.sha256)  # made while we waited?
            if corpus is None:
                if os.path.lexists(entry):
                    remove_folder(entry)
                _write(entry, source.name, survey, source.chunks(advance))
                corpus = _open(entry, source.name, survey.sha256)
    progress(2 * source.size, 2 * source.size)
    return corpus


def _survey(chunks: Iterable[str]) -> _Survey:
    digest = hashlib.sha256()
    seen = np.zeros(0x110000, dtype=bool)  # one per code point
    for chunk in chunks:
        digest.update(chunk.encode("utf-8", "surrogatepass"))  # refused below, by name
        seen[code_points(chunk)] = True
    if not seen.any():
        raise TextError("the text is empty")
    vocabulary = Vocabulary.from_characters(map(chr, np.flatnonzero(seen)))
    return _Survey(digest.hexdigest(), vocabulary)


def _write(entry: Path, name: str, survey: _Survey, chunks: Iterable[str]) -> None:
    """Make a new entry out of the second reading; hold its lock."""
    vocabulary = survey.vocabulary
    with publishing(entry) as folder:
        with (folder / "ids.bin").open("xb") as file:
            for ids in _encoded(chunks, survey, name):
                file.write(ids.data)
        _write_borders(folder, vocabulary)
        (folder / "vocabulary.json").write_bytes(vocabulary.to_json().encode())
        about = {
            "version": VERSION,
            "name": name,
            "sha256": survey.sha256,
            "characters": (folder / "ids.bin").stat().st_size // vocabulary.dtype.itemsize,
            "checksums": _checksums(folder),
        }
        (folder / "corpus.json").write_bytes(json.dumps(about, indent=2).encode())


def _encoded(chunks: Iterable[str], survey: _Survey, name: str) -> Iterator[Ids]:
    """Encode each chunk, and make sure that the text is still the one that was surveyed."""
    changed = TextError(f"{name} changed while it was read; run the command again")
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk.encode())
        try:
            ids = survey.vocabulary.encode(chunk)
        except TextError:
            raise changed from None
        yield ids
    if digest.hexdigest() != survey.sha256:
        raise changed


def _write_borders(folder: Path, vocabulary: Vocabulary) -> None:
    newline = vocabulary.stoi.get("\n", -1)
    ids = _mapped(folder / "ids.bin", vocabulary.dtype)
    with (folder / "borders.bin").open("xb") as file:
        for begin in range(2, len(ids), BLOCK):
            is_newline = ids[begin - 2 : begin + BLOCK] == newline
            is_first = is_newline[:-2] & is_newline[1:-1] & ~is_newline[2:]
            file.write((begin + np.flatnonzero(is_first)).astype(np.int64).data)


def _open_if_sound(entry: Path, name: str, sha256: str) -> Corpus | None:
    try:
        return _open(entry, name, sha256)
    except (OSError, ValueError, KeyError, TypeError):  # absent, damaged, or of another version
        return None


def _open(entry: Path, name: str, sha256: str) -> Corpus:
    """Open an entry of the cache; whatever is wrong with it raises."""
    about = json.loads((entry / "corpus.json").read_bytes())
    expected = {"version": VERSION, "sha256": sha256, "checksums": _checksums(entry)}
    if {key: about[key] for key in expected} != expected:
        raise ValueError(f"{entry} is damaged")
    vocabulary = Vocabulary.from_json((entry / "vocabulary.json").read_text(encoding="utf-8"))
    ids = _mapped(entry / "ids.bin", vocabulary.dtype)
    return Corpus(name, sha256, vocabulary, ids, _mapped(entry / "borders.bin", np.dtype(np.int64)))


def _mapped(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    if path.stat().st_size == 0:
        return np.empty(0, dtype)  # nothing cannot be mapped
    return np.memmap(path, dtype, mode="r")


def _checksums(folder: Path) -> dict[str, int]:
    names = ("ids.bin", "borders.bin", "vocabulary.json")
    return {name: _checksum(folder / name) for name in names}


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _slices(text: str, advance: Advance) -> Iterator[str]:
    for begin in range(0, len(text), BLOCK):
        chunk = text[begin : begin + BLOCK]
        yield chunk
        advance(len(chunk))


def _meter(progress: Progress, total: int) -> Advance:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done = min(done + count, total)  # a file may have grown
        progress(done, total)

    return advance
