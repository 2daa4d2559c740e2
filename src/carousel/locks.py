"""One holder at a time: locks on files, with what the system has, which may be nothing.

Some file systems have no locks: NFS whose server or mount lacks them, some of FUSE. A lock is not
left out there, for what it protects can be lost: two trainings in one run folder would mix their
metrics and delete each other's checkpoints, and whoever prepares a text or compiles the kernels
deletes what a killed process left half-written, which may be another's work in progress. Such file
systems can still create a file only where there is none, so the existence of a file is the lock.

Source: open(2), O_EXCL: on NFS from version 3 and Linux 2.6 on.
"""

# ruff: noqa: PTH104, PTH108, PTH115

import errno
import logging
import os
import platform
import re
import secrets
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Self

from carousel.errors import RunError
from carousel.input_files import MARK_LIMIT, POINTER_LIMIT, read_regular
from carousel.plain_paths import NO_FOLLOW, is_plain_file, kind_of

_log = logging.getLogger("carousel")


def _module_or_none(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


fcntl = _module_or_none("fcntl")  # POSIX
msvcrt = _module_or_none("msvcrt")  # Windows


class Lock:
    """An exclusive lock on a file, held by the `with` block and given back when its process dies.

    The file holds the holder's pid, and stays when the lock is released; only its holder may delete
    it, and whoever opened it before then tries again. What stands there and is no lock file, a
    link or a file with other content, is neither followed nor changed. Where the file system has
    no locks, the existence of a file beside it, which also names the machine, is the lock. If its
    process is gone, the lock is free; if it is on another machine, nobody here can tell, and the
    message says which file to delete.

    Args:
        path: The lock file; its folder must exist.
        name: What the error calls the locked thing; None gives the path.
        timeout: Seconds to wait for another holder; 0 refuses at once, `math.inf` never.

    Raises:
        RunError: On entering, if another holder keeps it, or if the path is no lock file.
    """

    def __init__(self, path: Path, *, name: str | None = None, timeout: float = 0.0) -> None:
        self._path = path
        self._name = name or str(path)
        self._timeout = timeout

    def __enter__(self) -> Self:
        start = time.monotonic()
        is_announced = False
        while (unlock := _try_lock(self._path)) is None:
            waited = time.monotonic() - start
            if waited >= self._timeout:
                raise RunError(self._in_use())
            if waited >= _PATIENCE and not is_announced and _foreign_holder(self._path):
                is_announced = True
                _log.warning("waiting: %s", self._in_use())
            time.sleep(0.05)
        self._unlock = unlock
        return self

    def __exit__(self, *error: object) -> None:
        self._unlock()

    def _in_use(self) -> str:
        """Return who holds the lock, and what helps if nobody can tell whether it is alive."""
        try:
            pid = str(int(read_regular(self._path, POINTER_LIMIT)))
        except (OSError, ValueError):
            pid = "unknown"
        holder = f"pid {pid}"
        if foreign := _foreign_holder(self._path):
            host = foreign.machine.partition("/")[0] or "an unknown machine"
            holder = f"{holder} on {host}; if it has ended, delete {_holder_file(self._path)}"
        return f"{self._name} is in use by another process ({holder})"


_FAR = 1 << 30  # the byte that Windows locks: a locked one cannot be read, and the pid should be
_PATIENCE = 2.0  # seconds until a wait that may have no end is announced
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


def _try_lock(path: Path) -> Callable[[], object] | None:
    """Lock, and return the function that unlocks; None while somebody else holds the lock."""
    if fcntl is None and msvcrt is None:
        return _try_create(path)
    descriptor = _open_lock(path)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(descriptor, _FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        if not _is_open_at(descriptor, path):  # its holder deleted it before it let go
            os.close(descriptor)
            return _try_lock(path)
        _write_pid(descriptor)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):  # as flock and as Windows say it
            return None
        if error.errno in _NO_LOCKS:
            return _try_create(path)
        error.filename = str(path)  # which a write does not know
        raise
    return partial(_unlock, descriptor)


def is_lock(path: Path) -> bool:
    """Return whether a path is a lock file: a file of its own that holds a pid, or nothing yet."""
    try:
        return is_plain_file(path) and _holds_a_pid(read_regular(path, POINTER_LIMIT))
    except OSError:
        return False


def _holds_a_pid(data: bytes) -> bool:
    return len(data) <= 20 and re.fullmatch(rb"\0*|[0-9]+", data) is not None  # zeros: power failed


def _open_lock(path: Path) -> int:
    """Open a lock file, made now if there is none.

    Raises:
        RunError: If something else stands there.
    """
    if os.path.lexists(path) and not is_plain_file(path):
        raise RunError(f"{path} is {kind_of(path)}, no lock file of Carousel: move it away")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | NO_FOLLOW, 0o666)
    try:
        if not _holds_a_pid(os.read(descriptor, 21)):
            raise RunError(f"{path} is no lock file of Carousel: it holds no pid; move it away")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_open_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _unlock(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child of fork may have the descriptor, too
    else:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    os.close(descriptor)


def _write_pid(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, str(os.getpid()).encode())


# Where the file system has no locks: the file NAME-holder is there as long as the lock is held.


class _Holder(NamedTuple):
    """The content of a lock file: its holder.

    Attributes:
        pid: The number of its process.
        start: When that began, as the system counts; 0 if unknown. Numbers are used again.
        machine: Its host, and which numbering of processes is meant: a container has its own.
    """

    pid: int
    start: int
    machine: str


def _holder_file(path: Path) -> Path:
    """Return the file whose existence is the lock: not the lock file, which is never deleted."""
    return path.with_name(f"{path.name}-holder")


def _try_create(path: Path) -> Callable[[], object] | None:
    """Create the holder's file, and return the function that deletes it; None if it is there."""
    file, holder = _holder_file(path), _Holder(os.getpid(), _start(os.getpid()), _machine())
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        other = _read_holder(file)
        if other is None or not _has_ended(other) or not _remove(file, other):
            return None
        return _try_create(path)
    try:
        os.write(descriptor, " ".join(map(str, holder)).encode())
        _show_pid(path)
    except (OSError, RunError) as error:  # the disk is full, or there is no lock file
        os.unlink(file)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise
    finally:
        os.close(descriptor)
    return partial(_remove, file, holder)


def _show_pid(path: Path) -> None:
    descriptor = _open_lock(path)
    try:
        _write_pid(descriptor)
    finally:
        os.close(descriptor)


def _foreign_holder(path: Path) -> _Holder | None:
    """Return the holder, if it is one of which nobody here can tell whether it lives."""
    holder = _read_holder(_holder_file(path))
    return None if holder is None or holder.machine == _machine() else holder


def _remove(file: Path, holder: _Holder) -> bool:
    """Delete the file of this holder, and return whether it was that; another's is put back.

    Two may find at once that a holder has ended; the slower one must not delete the new holder's
    file. Renamed, a file belongs to one of them, who then looks at what it is.
    """
    aside = file.with_name(f"{file.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        os.rename(file, aside)
    except FileNotFoundError:  # somebody else was quicker
        return True
    if _read_holder(aside) != holder:
        os.rename(aside, file)
        return False
    os.unlink(aside)
    return True


def _read_holder(file: Path) -> _Holder | None:
    """Return what a holder's file says; None if there is none. A damaged one is of no machine."""
    try:
        if file.is_symlink():
            return _Holder(0, 0, "")
        pid, start, machine = read_regular(file, MARK_LIMIT).decode().split(" ", 2)
        return _Holder(int(pid), int(start), machine)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):  # not yet written, or never
        return _Holder(0, 0, "")


def _has_ended(holder: _Holder) -> bool:
    """Return whether a holder has ended for certain."""
    if holder.machine != _machine():
        return False
    try:
        os.kill(holder.pid, 0)
    except OSError as error:
        return error.errno != errno.EPERM  # that is alive, but somebody else's
    return holder.start != _start(holder.pid)


def _machine() -> str:
    """Return a name for where the number of a process means this very process."""
    try:
        numbering = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        numbering = ""
    return f"{platform.node()}/{numbering}"


def _start(pid: int) -> int:
    """Return when a process began, in ticks since the machine did; 0 where nobody says."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(fields.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
