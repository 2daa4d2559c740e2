"""A text as ids on disk: streamed in, memory-mapped, cached under the SHA-256 of its content.

The text is read twice: once for its hash and its characters, once to write their ids. Nothing here
ever holds more of it than a few blocks. How an entry of the cache looks, cache_entry.py says.
"""

import functools
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from carousel.data.cache import (
    ELSEWHERE,
    check_room,
    entry_folder,
    is_entry,
    lock_of,
    recall,
    remember,
    stamp,
)
from carousel.data.cache_entry import bytes_needed, map_entry, open_entry, write_rest
from carousel.data.encode import Survey, survey, transcribe
from carousel.data.reading import (
    BLOCK,
    PLAIN,
    Advance,
    Reading,
    find_files,
    normalise_newlines,
    read_text,
    size_in_bytes,
)
from carousel.data.sources import is_compressed
from carousel.data.vocabulary import Ids, Vocabulary
from carousel.errors import StorageError, TextError, shorten
from carousel.files import (
    Lock,
    make_folder,
    publishing,
    remove_folder,
    remove_leftovers,
    user_cache_folder,
)
from carousel.plain_paths import kind_of, readable
from carousel.trusted_folders import is_foreign
from carousel.user_folders import explain_unwritable

_log = logging.getLogger("carousel")

# Told what is being done (see PHASES), how many bytes of it are done, and how many there are.
Progress = Callable[[str, int, int], None]
PHASES = ("reading", "writing", "indexing", "checking")  # the last only of what was in the cache


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text of N characters in D documents, ready to be cut into batches.

    Attributes:
        name: What to call it.
        sha256: Of the text in UTF-8, line endings normalised.
        vocabulary: All its characters, V of them, in the order of their code points.
        ids: (N,), read-only, mapped from disk.
        borders: (D − 1,), where a document begins after a blank line, ascending; the first begins
            with the text. Read-only, mapped from disk.
        fingerprints: (D,), one of each document: equal documents, line feeds at their ends apart,
            have equal ones. Read-only, mapped from disk.
        folder: The entry of the cache; None where there is none.
    """

    name: str
    sha256: str
    vocabulary: Vocabulary
    ids: Ids
    borders: NDArray[np.int64]
    fingerprints: NDArray[np.uint64]
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.ids)


def prepare(
    paths: Sequence[Path],
    *,
    reading: Reading = PLAIN,
    cache: Path | None = None,
    name: str | None = None,
    progress: Progress | None = None,
    is_exact: bool = False,
) -> Corpus:
    """Turn text files into a corpus, or find it in the cache.

    A byte order mark is dropped, CRLF and CR become LF, and a blank line stands between two files.
    Files that look as they did when they were read before are not read again; what the cache has of
    them is checked for damage.

    Args:
        paths: At least one: files, plain or compressed, and folders of them.
        reading: How bytes become text, and which files of a folder count.
        cache: Where corpora are kept; None takes the user's cache folder.
        name: What to call the corpus; None takes `name_of` the paths.
        progress: Called now and then.
        is_exact: Whether what the cache has is compared with the hash of the text, and made anew
            if it is another; that takes as long as to read it.

    Raises:
        TextError: If a file is missing, empty or does not decode, or changes meanwhile.
        StorageError: If the cache has no room for it.
        OSError: If a file cannot be read or the cache not be written.
    """
    kept, outputs = cache or user_cache_folder(), dict[Path, str]()
    files = find_files(paths, reading.pattern, caches=[kept], left_out=outputs.__setitem__)
    _note_left_out(outputs)
    size = size_in_bytes(files)
    source = _Source(
        readable(name or name_of(paths)), size, lambda advance: read_text(files, reading, advance)
    )
    show = progress or _silent
    _warn_of_others(kept)
    seen = stamp(files, reading)
    sha256 = recall(kept, seen)
    if sha256 and (corpus := _open_if_sound(kept, source.name, sha256, show, is_exact)):
        return corpus
    corpus = _prepare(source, kept, show, is_exact)
    remember(kept, seen, corpus.sha256)
    return corpus


def prepare_text(
    text: str,
    name: str,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    is_exact: bool = False,
) -> Corpus:
    """Turn a text at hand into a corpus, as `prepare` does with files.

    Raises:
        TextError: If it is empty, or holds half a surrogate pair.
        StorageError: If the cache has no room for it.
        OSError: If the cache cannot be written.
    """
    source = _Source(
        readable(name), len(text), lambda advance: normalise_newlines(_slices(text, advance))
    )
    kept = cache or user_cache_folder()
    _warn_of_others(kept)
    return _prepare(source, kept, progress or _silent, is_exact)


def _note_left_out(outputs: Mapping[Path, str]) -> None:
    """Log in one line which folders of Carousel were left out of a text."""
    if not outputs:
        return
    named = [f"{shorten(readable(path))} ({kind})" for path, kind in sorted(outputs.items())]
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    _log.warning(
        "note: left out of the text, as Carousel wrote it: %s%s", ", ".join(named[:3]), more
    )


@functools.cache
def _warn_of_others(cache: Path) -> None:
    """Warn once if others can write to a cache; no code is run from there."""
    if cache.is_dir() and (reason := is_foreign(cache)):
        _log.warning("%s: whoever can write there can change the texts that it keeps", reason)


def name_of(paths: Sequence[Path]) -> str:
    """Return what to call the text of these files and folders: after the first, in UTF-8.

    The ending of a compressed file is left out, as that of the file in it counts.
    """
    first, *more = paths
    name = first.resolve().name if first.is_dir() else first.name
    if is_compressed(first) and not first.is_dir():
        name = first.stem
    name = readable(name or "text")
    return f"{name} and {len(more)} more" if more else name


class _Source(NamedTuple):
    """A text that can be read more than once."""

    name: str
    size: int  # what `advance` adds up to
    chunks: Callable[[Advance], Iterator[str]]


def _prepare(source: _Source, cache: Path, progress: Progress, is_exact: bool) -> Corpus:
    found = survey(source.chunks(_meter(progress, "reading", source.size)))
    name, sha256 = source.name, found.sha256
    if corpus := _open_if_sound(cache, name, sha256, progress, is_exact):
        return corpus
    entry = entry_folder(cache, sha256)
    with explain_unwritable(cache, ELSEWHERE):
        make_folder(cache)
        return _fill(cache, entry, source, found, progress, is_exact)


def _fill(
    cache: Path, entry: Path, source: _Source, found: Survey, progress: Progress, is_exact: bool
) -> Corpus:
    """Make the entry of a text, unless another process does so first."""
    name, sha256 = source.name, found.sha256
    with Lock(lock_of(entry), timeout=math.inf):
        remove_leftovers(cache, entry.name)
        if corpus := _open_if_sound(cache, name, sha256, progress, is_exact):  # by another process
            return corpus
        if is_entry(entry):  # damaged, or of another version
            remove_folder(entry)
        elif os.path.lexists(entry):
            raise StorageError(
                f"{entry} is in the way, and it is {kind_of(entry)} that Carousel did not make: "
                f"move it away, or {ELSEWHERE}"
            )
        check_room(cache, bytes_needed(found.vocabulary, found.characters, found.documents))
        _write(entry, source, found, progress)
        return Corpus(name, sha256, *map_entry(entry), folder=entry)


def _write(entry: Path, source: _Source, found: Survey, progress: Progress) -> None:
    """Make a new entry out of the second reading; hold its lock."""
    chunks = source.chunks(_meter(progress, "writing", source.size))
    with publishing(entry) as folder:
        with (folder / "ids.bin").open("xb") as file:
            if transcribe(chunks, found.vocabulary, file) != found.sha256:
                raise TextError(f"{source.name} changed while it was read; run the command again")
        write_rest(
            folder,
            source.name,
            found.sha256,
            found.vocabulary,
            lambda done, total: progress("indexing", done, total),
        )


# What opening an entry raises if it is absent, damaged or of another version.
_UNSOUND = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


def _open_if_sound(
    cache: Path, name: str, sha256: str, progress: Progress, is_exact: bool
) -> Corpus | None:
    folder = entry_folder(cache, sha256)
    try:
        entry = open_entry(
            folder,
            sha256,
            lambda done, total: progress("checking", done, total),
            is_exact=is_exact,
        )
    except _UNSOUND:
        return None
    return Corpus(name, sha256, *entry, folder=folder)


def _slices(text: str, advance: Advance) -> Iterator[str]:
    for begin in range(0, len(text), BLOCK):
        chunk = text[begin : begin + BLOCK]
        yield chunk
        advance(len(chunk))


def _meter(progress: Progress, phase: str, total: int) -> Advance:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done = min(done + count, total)  # a file may have grown
        progress(phase, done, total)

    return advance


def _silent(phase: str, done: int, total: int) -> None:
    """Show nothing."""
