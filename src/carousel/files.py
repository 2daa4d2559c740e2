"""Files and folders that are there whole or not at all, whatever happens while they are written.

Every name is published by one rename, after its content has reached the disk: a reader meets the
old content or the new, never a mixture, also after a kill or a loss of power. What a killed process
leaves behind has a hidden temporary name, which `remove_leftovers` knows. An `OSError` (disk full,
folder read-only, …) passes through, naming the file that was to be written.

Source: Pillai et al. 2014, All File Systems Are Not Created Equal (OSDI), section 4: what a rename
does not promise without the fsync before and after it.
"""

import errno
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Self

from carousel.errors import RunError


def _module_or_none(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


fcntl = _module_or_none("fcntl")  # POSIX
msvcrt = _module_or_none("msvcrt")  # Windows

Content = bytes | Callable[[BinaryIO], None]  # of a file: itself, or a function that writes it

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
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            _sync(file.fileno())
        _rename(os.replace, temporary, path)
    _sync_folder(path.parent)


@contextmanager
def publishing(folder: Path) -> Iterator[Path]:
    """Yield a hidden new folder to put files in; when the block ends, it gets its name, durably.

    The files are on disk before the rename; if the block raises, nothing remains. Raises what
    `publish_folder` does.
    """
    temporary = _temporary_name(folder)
    with _undone_on_error(temporary, folder):
        temporary.mkdir()
        yield temporary
        for path in sorted(temporary.iterdir()):
            with path.open("rb+") as file:  # Windows flushes only what is open for writing
                _sync(file.fileno())
        _sync_folder(temporary)
        if os.path.lexists(folder):  # the rename would silently replace an empty folder
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
        _rename(os.rename, temporary, folder)
    _sync_folder(folder.parent)


def publish_folder(folder: Path, files: Mapping[str, Content]) -> None:
    """Make a folder of files, given by name, in a single step that survives a loss of power.

    Raises:
        FileExistsError: If the name is taken.
        OSError: If it cannot be done; no folder of this name exists then.
    """
    with publishing(folder) as temporary:
        for name, content in files.items():
            with (temporary / name).open("xb") as file:
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    content(file)


def remove_folder(folder: Path) -> None:
    """Delete a folder so that nobody, now or after a loss of power, meets it half deleted.

    Raises:
        FileNotFoundError: If there is none.
    """
    temporary = _temporary_name(folder)
    _rename(os.rename, folder, temporary)
    _sync_folder(folder.parent)  # the old name is gone for good before the first file is
    _delete(temporary)


def remove_leftovers(parent: Path, name: str | None = None) -> None:
    """Delete what killed processes left half-written in a folder, of one name or of all.

    Hold the lock under which these names are written, lest it take work in progress.
    """
    for path in list(parent.iterdir()):
        if (match := _TEMPORARY.fullmatch(path.name)) and name in (None, match["name"]):
            _delete(path)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably; one that exists is left as it is.

    Raises:
        FileExistsError: If something other than a folder has that name.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


class Lock:
    """An exclusive lock on a file, held by the `with` block and given back when its process dies.

    The file holds the holder's pid, and stays when the lock is released: deleting it would let two
    holders in. Where the system has no file locks, the file's existence is the lock, and one whose
    process is gone is taken over.

    Args:
        path: The lock file; its folder must exist.
        name: What the error calls the locked thing; None gives the path.
        timeout: Seconds to wait for another holder; 0 refuses at once, `math.inf` never.

    Raises:
        RunError: On entering, if another holder keeps it.
    """

    def __init__(self, path: Path, *, name: str | None = None, timeout: float = 0.0) -> None:
        self._path = path
        self._name = name or str(path)
        self._timeout = timeout

    def __enter__(self) -> Self:
        deadline = time.monotonic() + self._timeout
        while (descriptor := _try_lock(self._path)) is None:
            if time.monotonic() >= deadline:
                holder = _holder(self._path) or "unknown"
                raise RunError(f"{self._name} is in use by another process (pid {holder})")
            time.sleep(0.05)
        self._descriptor = descriptor
        return self

    def __exit__(self, *error: object) -> None:
        _unlock(self._path, self._descriptor)


def user_cache_folder() -> Path:
    """Return where this user's caches stand: CAROUSEL_CACHE, else the platform's own place."""
    if chosen := os.environ.get("CAROUSEL_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "carousel"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "carousel"
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "carousel"


def _temporary_name(path: Path) -> Path:
    """Return a hidden name beside the path that no other writer uses."""
    return path.with_name(f".tmp-{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


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


def _delete(path: Path) -> None:
    """Delete a file or folder under a temporary name; what resists stays, for the next time."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


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


def _sync(descriptor: int) -> None:
    """Wait until a file's content is on the disk itself."""
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS, whose fsync stops at the drive's own cache
        with suppress(OSError):  # a network drive has none
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can do that."""
    if sys.platform == "win32":  # cannot open a folder; NTFS journals its names
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _sync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network drives cannot either
            raise
    finally:
        os.close(descriptor)


_FAR = 1 << 30  # the byte that Windows locks: a locked one cannot be read, and the pid should be


def _try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock, or None while somebody else does."""
    if fcntl is None and msvcrt is None:
        return _try_pid_file(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(descriptor, _FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, str(os.getpid()).encode())
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):  # as flock and as Windows say it
            return None
        raise
    return descriptor


def _unlock(path: Path, descriptor: int) -> None:
    if fcntl is None and msvcrt is not None:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    os.close(descriptor)
    if fcntl is None and msvcrt is None:
        path.unlink(missing_ok=True)


def _try_pid_file(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        if (holder := _holder(path)) is None or _is_alive(holder):
            return None
        path.unlink(missing_ok=True)
        return _try_pid_file(path)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def _holder(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.EPERM  # alive, but somebody else's
    return True
