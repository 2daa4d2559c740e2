"""The folder in which prepared texts are kept: what is in it, room in it, and its stamps.

| name | content |
|---|---|
| HASH/ | a prepared text (see cache_entry.py), under the first half of the SHA-256 of the text |
| HASH.lock | held by whoever makes or deletes that entry |
| stamps/KEY | the SHA-256 of the text of files that were read before |
| stdin-K.lock | held while stdin is kept in a file for the time of its reading |

KEY is a hash of where the files stand, their sizes, times and inodes, and how they are read: while
nothing of that changes, they need not be read again.
"""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from carousel.data.cache_entry import CHECKED_FILES, FILES, VERSION, Summary, summary
from carousel.data.reading import Reading
from carousel.errors import RunError, StorageError
from carousel.files import (
    Lock,
    is_leftover,
    make_folder,
    remove_file,
    remove_folder,
    remove_leftovers,
    write_durably,
)
from carousel.input_files import ENTRY_LIMIT, POINTER_LIMIT, read_regular
from carousel.locks import is_lock
from carousel.plain_paths import is_plain_file, is_plain_folder

# A file that changes twice within the coarsest tick of a file system's clock may look as if it had
# changed once: nothing so young gets a stamp.
# Source: the git project, Documentation/technical/racy-git.adoc.
RACY = 2_000_000_000  # nanoseconds

ELSEWHERE = "name another folder with --cache-dir or CAROUSEL_CACHE"  # where a cache could stand

_ENTRY = re.compile(r"[0-9a-f]{32}")
_LOCKED = re.compile(r"(?P<name>[0-9a-f]{32}|stdin-\d+)\.lock")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def entry_folder(cache: Path, sha256: str) -> Path:
    """Return where the text of this hash is kept."""
    return cache / sha256[:32]


def lock_of(entry: Path) -> Path:
    """Return the lock under which an entry, and leftovers of its name, are written and deleted."""
    return entry.with_name(f"{entry.name}.lock")


class Stamp(NamedTuple):
    """How files look from outside, before they are read."""

    key: str
    is_settled: bool  # False: they may still change without looking different


def stamp(files: Sequence[Path], reading: Reading) -> Stamp:
    """Look at files from outside.

    Raises:
        OSError: If one is gone.
    """
    now = time.time_ns()
    states = [file.stat() for file in files]
    facts = [
        [str(file.resolve()), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
        for file, state in zip(files, states, strict=True)
    ]
    content = json.dumps([VERSION, asdict(reading), facts])
    changed = max((max(state.st_mtime_ns, state.st_ctime_ns) for state in states), default=now)
    return Stamp(hashlib.sha256(content.encode()).hexdigest(), changed < now - RACY)


def recall(cache: Path, stamp: Stamp) -> str | None:
    """Return the SHA-256 of the text of files that look like this, if it is known."""
    try:
        sha256 = read_regular(cache / "stamps" / stamp.key, POINTER_LIMIT).decode("ascii")
    except (OSError, ValueError):
        return None
    return sha256 if _SHA256.fullmatch(sha256) else None


def remember(cache: Path, stamp: Stamp, sha256: str) -> None:
    """Keep the SHA-256 of the text of files that look like this, if that can be relied on."""
    folder = cache / "stamps"
    if stamp.is_settled and recall(cache, stamp) != sha256:
        with suppress(OSError):  # nothing is lost but time
            make_folder(folder)
            if is_plain_folder(folder):  # a link is not followed
                write_durably(folder / stamp.key, sha256.encode())


def check_room(cache: Path, needed: int) -> None:
    """Make sure that so many bytes fit.

    Raises:
        StorageError: If they do not.
    """
    free = shutil.disk_usage(cache).free
    if needed > free:
        raise StorageError(
            f"the cache needs {in_bytes(needed)} and {cache} has {in_bytes(free)} free: "
            "make room, or name another folder with --cache-dir"
        )


def in_bytes(count: int) -> str:
    """Return a number of bytes in the unit that suits it: 512 bytes, 20.1 MB, 5.1 GB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 0.9995 * size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


class Kept(NamedTuple):
    """A folder of the cache."""

    folder: Path
    size: int  # bytes on disk
    summary: Summary | None  # None if it is damaged or of another version


def kept(cache: Path) -> list[Kept]:
    """Return what the cache keeps, the largest first."""
    folders = [path for path in _content(cache) if is_entry(path)]
    found = [Kept(folder, size_on_disk(folder), summary(folder)) for folder in folders]
    return sorted(found, key=lambda each: (-each.size, each.folder.name))


class Cleared(NamedTuple):
    """The result of `clear`."""

    freed: int  # bytes of what was removed
    removed: tuple[Path, ...]
    skipped: tuple[Path, ...]  # in use, or not ours to delete


def clear(cache: Path) -> Cleared:
    """Delete all that the cache keeps, and what killed processes left in it.

    What Carousel did not make stays, links are not followed. Lock files stay, too.
    """
    freed, removed, skipped = 0, [], []
    for name in sorted(_names(cache)):
        entry = cache / name
        try:
            with Lock(lock_of(entry)):
                leftovers = [path for path in _content(cache) if is_leftover(path, name)]
                freed += sum(map(size_on_disk, leftovers))
                remove_leftovers(cache, name)
                if is_entry(entry):
                    freed += size_on_disk(entry)
                    remove_folder(entry)
                    removed.append(entry)
        except (RunError, OSError):  # in use by us, or by a program that keeps it open (Windows)
            skipped.append(entry)
    return Cleared(freed + _clear_stamps(cache / "stamps"), tuple(removed), tuple(skipped))


def _clear_stamps(folder: Path) -> int:
    """Delete stamps and what is left of half-written ones; return their bytes."""
    freed = 0
    if not is_plain_folder(folder):
        return freed
    with suppress(OSError):  # what stays does no harm
        for path in _content(folder):
            if is_leftover(path, _SHA256) or _is_stamp(path):
                freed += size_on_disk(path)
                remove_file(path)
    return freed


def _is_stamp(path: Path) -> bool:
    """Return whether a path is a file that `remember` writes: a hash, named after a hash."""
    if not (_SHA256.fullmatch(path.name) and is_plain_file(path)):
        return False
    if path.lstat().st_size != 64:
        return False
    return _SHA256.fullmatch(read_regular(path, POINTER_LIMIT).decode("latin-1")) is not None


def _names(cache: Path) -> set[str]:
    """Return the names under which something is, or was, locked and written."""
    names = {
        match["name"]
        for path in _content(cache)
        if (match := _LOCKED.fullmatch(path.name)) and is_lock(path)
    }
    return names | {path.name for path in _content(cache) if is_entry(path)}


def is_entry(path: Path) -> bool:
    """Return whether a path is an entry, sound or not, and not a folder of the user's."""
    if not _ENTRY.fullmatch(path.name) or not is_plain_folder(path):
        return False
    content = _content(path)
    if not all(each.name in FILES and _holds_no_other(each) for each in content):
        return False
    return {each.name for each in content} >= set(CHECKED_FILES) or _describes_an_entry(path)


def _describes_an_entry(folder: Path) -> bool:
    """Return whether the corpus.json of a folder is one that Carousel writes, of any version."""
    try:
        about = json.loads(read_regular(folder / "corpus.json", ENTRY_LIMIT))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(about, dict) and {"version", "sha256", "checksums"} <= set(about)


def _holds_no_other(path: Path) -> bool:
    """Return whether a path is a file, or a folder with nothing in it that could be lost."""
    return is_plain_file(path) or (is_plain_folder(path) and not _content(path))


def size_on_disk(path: Path) -> int:
    """Return the bytes of a file, or of the files in a folder and below; links are not followed."""
    with suppress(OSError):  # somebody else deletes it meanwhile
        if is_plain_folder(path):
            return sum(size_on_disk(each) for each in path.iterdir())
        return path.lstat().st_size
    return 0


def _content(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
