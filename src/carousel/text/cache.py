"""The folder in which prepared texts are kept: what is in it, room in it, and its stamps.

| name | content |
|---|---|
| HASH/ | a prepared text (see entries.py), under the first half of the SHA-256 of the text |
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

from carousel.errors import RunError, StorageError
from carousel.files import (
    Lock,
    make_folder,
    remove_file,
    remove_folder,
    remove_leftovers,
    write_durably,
)
from carousel.text.entries import FILES, VERSION, Summary, summary
from carousel.text.reading import Reading

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
        sha256 = (cache / "stamps" / stamp.key).read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    return sha256 if _SHA256.fullmatch(sha256) else None


def remember(cache: Path, stamp: Stamp, sha256: str) -> None:
    """Keep the SHA-256 of the text of files that look like this, if that can be relied on."""
    if stamp.is_settled and recall(cache, stamp) != sha256:
        with suppress(OSError):  # nothing is lost but time
            make_folder(cache / "stamps")
            write_durably(cache / "stamps" / stamp.key, sha256.encode())


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
    folders = [path for path in _content(cache) if _is_ours(path)]
    found = [Kept(folder, size_on_disk(folder), summary(folder)) for folder in folders]
    return sorted(found, key=lambda each: (-each.size, each.folder.name))


class Cleared(NamedTuple):
    """What `clear` did."""

    freed: int  # bytes
    removed: tuple[Path, ...]
    skipped: tuple[Path, ...]  # in use, or not ours to delete


def clear(cache: Path) -> Cleared:
    """Delete all that the cache keeps, and what killed processes left in it.

    Lock files stay: deleting one would let two holders in.
    """
    before, removed, skipped = size_on_disk(cache), [], []
    for name in sorted(_names(cache)):
        entry = cache / name
        try:
            with Lock(lock_of(entry)):
                remove_leftovers(cache, name)
                if _is_ours(entry):
                    remove_folder(entry)
                    removed.append(entry)
        except (RunError, OSError):  # in use by us, or by a program that keeps it open (Windows)
            skipped.append(entry)
    with suppress(OSError):  # there may be none; what stays does no harm
        remove_leftovers(cache / "stamps")
        for path in _content(cache / "stamps"):
            if _SHA256.fullmatch(path.name):
                remove_file(path)
    return Cleared(max(before - size_on_disk(cache), 0), tuple(removed), tuple(skipped))


def _names(cache: Path) -> set[str]:
    """Return the names under which something is, or was, locked and written."""
    names = {match["name"] for path in _content(cache) if (match := _LOCKED.fullmatch(path.name))}
    return names | {path.name for path in _content(cache) if _is_ours(path)}


def _is_ours(path: Path) -> bool:
    """Say whether a path is an entry, sound or not, and not a folder of the user's."""
    if not _ENTRY.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
        return False
    return {each.name for each in _content(path)} <= set(FILES)


def size_on_disk(folder: Path) -> int:
    """Return the bytes in the files of a folder and those below."""
    size = 0
    for path in _content(folder):
        with suppress(OSError):  # somebody else deletes it meanwhile
            size += size_on_disk(path) if path.is_dir() else path.lstat().st_size
    return size


def _content(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
