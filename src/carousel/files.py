"""Files and folders that are there whole or not at all, whatever happens while they are written.

Every name is published by one rename, after its content has reached the disk: a reader meets the
old content or the new, never a mixture, also after a kill or a loss of power. What a killed process
leaves behind has a hidden temporary name, which `remove_leftovers` knows. An `OSError` (disk full,
folder read-only, …) passes through, naming the file that was to be written. Whatever changes the
disk is called as `os.NAME`, not by pathlib: tests/durability puts disks that fail in its place.

Source: Pillai et al. 2014, All File Systems Are Not Created Equal (OSDI), section 4: what a rename
does not promise without the fsync before and after it.
"""

# ruff: noqa: PTH102, PTH106, PTH108

import errno
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from carousel.locks import Lock as Lock  # part of the same promise: whoever writes, locks
from carousel.locks import fcntl
from carousel.plain_paths import is_plain_file, is_plain_folder
from carousel.user_folders import user_cache_folder as user_cache_folder

_TEMPORARY = re.compile(r"\.tmp-(?P<name>.+)-\d+-[0-9a-f]{8}", re.DOTALL)


def write_durably(path: Path, data: bytes) -> None:
    """Write a file, or replace one, in a single step that survives a loss of power.

    Raises:
        OSError: If it cannot be done; the old content stays then, and nothing else. (When the very
            last step fails, the fsync of the folder, the new content is in place: a loss of power
            may still bring back the old.)
    """
    temporary = _temporary_name(path)
    with _undone_on_error(temporary, path):
        _write_new(temporary, data)
        _rename(os.replace, temporary, path)
    sync_folder(path.parent)


@contextmanager
def publishing(folder: Path) -> Iterator[Path]:
    """Yield a hidden new folder to put files in; when the block ends, it gets its name, durably.

    The files are on disk before the rename; if the block raises, nothing remains. Raises what
    `publish_folder` does.
    """
    with _appearing(folder) as temporary:
        yield temporary
        for path in sorted(temporary.iterdir()):
            with _opened(path, os.O_RDWR) as descriptor:  # Windows flushes nothing opened to read
                sync_file(descriptor)


def publish_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder of files, given by name, in a single step that survives a loss of power.

    Raises:
        FileExistsError: If the name is taken.
        OSError: If it cannot be done; no folder of this name exists then.
    """
    with _appearing(folder) as temporary:
        for name, data in files.items():
            _write_new(temporary / name, data)


@contextmanager
def scratch_file(path: Path) -> Iterator[Path]:
    """Yield a hidden name beside this one, for a file that the block needs; then it is deleted."""
    temporary = _temporary_name(path)
    try:
        yield temporary
    finally:
        _delete(temporary)


def remove_file(path: Path) -> None:
    """Delete a file if there is one; a loss of power may bring it back, until the next fsync."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def remove_empty(folder: Path) -> bool:
    """Delete a folder if it is empty; return whether it was."""
    try:
        os.rmdir(folder)
    except OSError:
        return False
    return True


def remove_folder(folder: Path) -> None:
    """Delete a folder so that nobody, now or after a loss of power, meets it half deleted.

    Raises:
        FileNotFoundError: If there is none.
    """
    temporary = _temporary_name(folder)
    _rename(os.rename, folder, temporary)
    sync_folder(folder.parent)  # the old name is gone for good before the first file is
    _delete(temporary)


def remove_leftovers(parent: Path, names: str | re.Pattern[str]) -> None:
    """Delete what killed processes left half-written in a folder, of one name or of a pattern.

    Hold the lock under which these names are written, lest it take work in progress.
    """
    for path in list(parent.iterdir()):
        if is_leftover(path, names):
            _delete(path)


def is_leftover(path: Path, names: str | re.Pattern[str]) -> bool:
    """Return whether a path is what a killed process left of one of these names; a link is not."""
    if (match := _TEMPORARY.fullmatch(path.name)) is None:
        return False
    name = match["name"]
    fits = name == names if isinstance(names, str) else names.fullmatch(name) is not None
    return fits and (is_plain_file(path) or is_plain_folder(path))


def move_aside(path: Path) -> Path:
    """Rename a file or folder to a free name beside it, NAME-kept; return that."""
    aside, k = path.with_name(f"{path.name}-kept"), 1
    while os.path.lexists(aside):
        aside, k = path.with_name(f"{path.name}-kept-{k + 1}"), k + 1
    _rename(os.rename, path, aside)
    sync_folder(path.parent)
    return aside


class MadeFolder(NamedTuple):
    """A folder that this process made, known again by its device and inode."""

    path: Path
    device: int
    inode: int


def make_folder(folder: Path) -> list[MadeFolder]:
    """Make a folder and those above it, durably; one that exists is left as it is.

    Returns:
        Those that were made, the uppermost first. If not all can be made, none stays.

    Raises:
        FileExistsError: If something other than a folder has that name.
    """
    if folder.is_dir():  # perhaps made by a process that was killed before the fsync
        with _passing_over(errno.EACCES, errno.EPERM, errno.EROFS):  # else it is not our making
            sync_folder(folder.parent)
        return []
    made = make_folder(folder.parent)
    try:
        _make_one(folder, made)
        sync_folder(folder.parent)
    except BaseException:
        remove_made(made)
        raise
    return made


def _make_one(folder: Path, made: list[MadeFolder]) -> None:
    try:
        os.mkdir(folder)
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        state = os.lstat(folder)
        made.append(MadeFolder(folder, state.st_dev, state.st_ino))


def remove_made(made: Sequence[MadeFolder]) -> None:
    """Remove folders that `make_folder` made, as far as they are empty and still the same."""
    for path, device, inode in reversed(made):
        with suppress(OSError):  # somebody put something there, which stays
            state = os.lstat(path)
            if (state.st_dev, state.st_ino) == (device, inode):
                os.rmdir(path)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can do that."""
    if sys.platform == "win32":  # cannot open a folder; NTFS journals its names
        return
    with (
        _opened(folder, os.O_RDONLY) as descriptor,
        _passing_over(errno.EINVAL, errno.ENOTSUP),  # some network drives cannot either
    ):
        sync_file(descriptor)


def _temporary_name(path: Path) -> Path:
    """Return a hidden name beside the path that no other writer uses."""
    return path.with_name(f".tmp-{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Yield a hidden new folder, which gets its name when the block ends; its files are on disk."""
    temporary = _temporary_name(folder)
    with _undone_on_error(temporary, folder):
        os.mkdir(temporary)
        yield temporary
        sync_folder(temporary)
        if os.path.lexists(folder):  # the rename would silently replace an empty folder
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
        _rename(os.rename, temporary, folder)
    sync_folder(folder.parent)


@contextmanager
def _undone_on_error(temporary: Path, final: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        _delete(temporary)
        # Errors of write and fsync name no file; those of open, one that nobody knows.
        if isinstance(error, OSError) and str(temporary) in str(error.filename or temporary):
            error.filename = str(final)
        raise


@contextmanager
def _passing_over(*numbers: int) -> Iterator[None]:
    """Ignore an OSError of one of these kinds."""
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise


BINARY = getattr(os, "O_BINARY", 0)  # Windows would write CRLF


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | BINARY, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write_new(path: Path, data: bytes) -> None:
    """Write a file that is not there yet, down to the disk itself."""
    with _opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
        write_all(descriptor, data)
        sync_file(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it: the system may take less at a time, on Linux never more than 2 GiB."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _delete(path: Path) -> None:
    """Delete a file or folder under a temporary name; what resists stays, for the next time."""
    with suppress(OSError):
        if path.is_symlink() or not path.is_dir():
            os.unlink(path)
        else:
            for item in list(path.iterdir()):
                _delete(item)
            os.rmdir(path)


def _rename(rename: Callable[[Path, Path], None], old: Path, new: Path) -> None:
    """Rename, with patience for Windows, which refuses while a reader has the file open."""
    for pause in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0):
        try:
            return rename(old, new)
        except PermissionError as error:
            if getattr(error, "winerror", None) not in (5, 32):  # access denied, sharing violation
                raise
            time.sleep(pause)
    return rename(old, new)


def sync_file(descriptor: int) -> None:
    """Wait until a file's content is on the disk itself."""
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS, whose fsync stops at the drive's own cache
        with suppress(OSError):  # a network drive has none
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)
