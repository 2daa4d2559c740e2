"""One prepared text on disk: a folder of the cache, written once, verified whenever it is opened.

| file | content |
|---|---|
| ids.bin | the id of each character, uint8, uint16 or uint32 by the size of the vocabulary |
| borders.bin | int64 offsets, in characters, at which a document begins after a blank line |
| fingerprints.bin | a uint64 for each document, which equal ones share |
| vocabulary.json | the characters in the order of their ids |
| corpus.json | version of this layout, name, SHA-256, sizes, and CRC-32s of the other files |

The numbers are in the byte order of the machine; another finds another version and starts anew.
"""

import json
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from mmap import mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carousel.data.documents import find_documents
from carousel.data.entry_check import check_content, check_numbers
from carousel.data.parallel import ordered_map
from carousel.data.vocabulary import Ids, Vocabulary
from carousel.errors import StorageError
from carousel.input_files import ENTRY_LIMIT, VOCABULARY_LIMIT, open_regular, read_regular

VERSION = f"2 {sys.byteorder}"  # of the layout above; an entry of another version is made anew

CHECKED = 1 << 26  # bytes of a file that one CRC-32 covers: large files are checked by all cores
CHECKED_FILES = ("ids.bin", "borders.bin", "fingerprints.bin", "vocabulary.json")
FILES = (*CHECKED_FILES, "corpus.json")
_BUFFER = 1 << 20  # bytes read at a time

Step = Callable[[int, int], None]  # told how much is done, and how much there is


class MappedArray(np.memmap[Any, np.dtype[Any]]):
    """An array on disk; before each look at it the size of its file is checked.

    Who reads what was cut off a mapped file is ended by the system (SIGBUS), which Python cannot
    catch. The check takes 0.6 µs, and leaves the moment between it and the reading. Reading with
    pread would leave none, but a batch of 32 windows takes 100 µs with it, and 11 µs so.
    """

    _mmap: mmap | None  # None of a copy

    def __getitem__(self, key: Any) -> Any:
        """Return elements as an array does.

        Raises:
            StorageError: If the file is shorter than it was.
        """
        mapped = self._mmap
        if mapped is None:
            return super().__getitem__(key)
        if mapped.size() < len(mapped):
            raise StorageError(
                f"{self.filename} was cut short while it was in use: run the command again, which "
                "prepares the text anew"
            )
        found = super().__getitem__(key)
        is_copy = isinstance(found, MappedArray) and found._mmap is None
        return found.view(np.ndarray) if is_copy else found


class Entry(NamedTuple):
    """A sound folder of the cache, opened; all arrays are read-only, mapped from disk."""

    vocabulary: Vocabulary
    ids: Ids  # (N,)
    borders: NDArray[np.int64]  # (D - 1,)
    fingerprints: NDArray[np.uint64]  # (D,)


class Summary(NamedTuple):
    """The description of a cache entry."""

    name: str
    sha256: str
    characters: int
    symbols: int
    documents: int


def open_entry(folder: Path, sha256: str, step: Step, *, is_exact: bool = False) -> Entry:
    """Open a folder of the cache after checking every byte of it.

    Args:
        folder: Of the cache.
        sha256: Of the text that it should hold.
        step: Told the bytes checked, and those in all.
        is_exact: Whether to compare the text itself with its hash, which takes longer.

    Raises:
        OSError: If something is missing or unreadable.
        ValueError, KeyError, TypeError: If something is damaged, or of another version or text.
    """
    about = json.loads(read_regular(folder / "corpus.json", ENTRY_LIMIT))
    # Sizes and version first: they cost nothing.
    if about["version"] != VERSION or about["sha256"] != sha256:
        raise ValueError(f"{folder} is of another text or version")
    if {name: len(sums) for name, sums in about["checksums"].items()} != _counts(folder):
        raise ValueError(f"{folder} is damaged")
    if about["checksums"] != checksums(folder, step):
        raise ValueError(f"{folder} is damaged")
    entry = map_entry(folder)
    if about != describe(entry, about["name"], sha256, about["checksums"]):
        raise ValueError(f"{folder} is damaged")
    check_numbers(entry.vocabulary, entry.ids, entry.borders)
    if is_exact:
        check_content(entry.vocabulary, entry.ids, sha256, step)
    return entry


def map_entry(folder: Path) -> Entry:
    """Map a folder whose files are known to be sound."""
    data = read_regular(folder / "vocabulary.json", VOCABULARY_LIMIT)
    vocabulary = Vocabulary.from_json(data.decode())
    return Entry(
        vocabulary,
        _mapped(folder / "ids.bin", vocabulary.dtype),
        _mapped(folder / "borders.bin", np.dtype(np.int64)),
        _mapped(folder / "fingerprints.bin", np.dtype(np.uint64)),
    )


def write_rest(folder: Path, name: str, sha256: str, vocabulary: Vocabulary, step: Step) -> None:
    """Write all other files of an entry from its ids.bin.

    Args:
        folder: Holds ids.bin alone.
        name: What to call the text.
        sha256: Of it.
        vocabulary: What the ids mean.
        step: Told the bytes of ids looked at, and those in all.
    """
    (folder / "vocabulary.json").write_bytes(vocabulary.to_json().encode())
    ids = _mapped(folder / "ids.bin", vocabulary.dtype)
    done = 0
    with (
        (folder / "borders.bin").open("xb") as borders,
        (folder / "fingerprints.bin").open("xb") as fingerprints,
    ):
        for documents in find_documents(ids, vocabulary):
            borders.write(documents.borders.data)
            fingerprints.write(documents.fingerprints.data)
            done += documents.characters * ids.itemsize
            step(done, ids.nbytes)
    sums = checksums(folder, lambda done, total: None)
    about = describe(map_entry(folder), name, sha256, sums)
    (folder / "corpus.json").write_bytes(json.dumps(about, indent=2).encode())


def bytes_needed(vocabulary: Vocabulary, characters: int, documents: int) -> int:
    """Return about how much room an entry takes, with something to spare."""
    itemsize = vocabulary.dtype.itemsize
    return characters * itemsize + 16 * (documents + len(vocabulary)) + (1 << 20)


def describe(entry: Entry, name: str, sha256: str, sums: dict[str, list[int]]) -> dict[str, Any]:
    """Return what corpus.json says of an entry."""
    if len(entry.fingerprints) != len(entry.borders) + 1:
        raise ValueError("borders and fingerprints do not fit together")
    return {
        "version": VERSION,
        "name": name,
        "sha256": sha256,
        "characters": len(entry.ids),
        "symbols": len(entry.vocabulary),
        "documents": len(entry.fingerprints),
        "checksums": sums,
    }


def summary(folder: Path) -> Summary | None:
    """Return what a folder says of itself, unchecked; None if it says nothing intelligible."""
    try:
        about = json.loads(read_regular(folder / "corpus.json", ENTRY_LIMIT))
        if about["version"] != VERSION:
            return None
        return Summary(
            str(about["name"]),
            str(about["sha256"]),
            *(int(about[key]) for key in ("characters", "symbols", "documents")),
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def checksums(folder: Path, step: Step) -> dict[str, list[int]]:
    """Return the CRC-32 of each stretch of CHECKED bytes of each file but corpus.json."""
    sizes = {name: (folder / name).stat().st_size for name in CHECKED_FILES}
    pieces = [(name, begin) for name in CHECKED_FILES for begin in range(0, sizes[name], CHECKED)]
    sums: dict[str, list[int]] = {name: [] for name in CHECKED_FILES}
    done, total = 0, sum(sizes.values())
    paths = [(folder / name, begin) for name, begin in pieces]
    with closing(ordered_map(_checksum, paths)) as results:
        for (name, begin), checksum in zip(pieces, results, strict=True):
            sums[name].append(checksum)
            done += min(CHECKED, sizes[name] - begin)
            step(done, total)
    return sums


def _counts(folder: Path) -> dict[str, int]:
    """Return how many checksums each file has."""
    return {name: -(-(folder / name).stat().st_size // CHECKED) for name in CHECKED_FILES}


def _checksum(piece: tuple[Path, int]) -> int:
    path, begin = piece
    checksum = 0
    with open_regular(path) as file:
        file.seek(begin)
        for block in _blocks(file.read, CHECKED):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _blocks(read: Callable[[int], bytes], size: int) -> Iterator[bytes]:
    """Yield at most `size` bytes, a buffer at a time."""
    while size > 0 and (block := read(min(size, _BUFFER))):
        size -= len(block)
        yield block


def _mapped(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    if path.stat().st_size == 0:
        return np.empty(0, dtype)  # nothing cannot be mapped
    return MappedArray(path, dtype, mode="r")
