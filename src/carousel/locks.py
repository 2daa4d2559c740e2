"""One holder at a time: locks on files, with what the system has, which may be nothing."""

import errno
import os
import time
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from carousel.errors import RunError


def _module_or_none(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


fcntl = _module_or_none("fcntl")  # POSIX
msvcrt = _module_or_none("msvcrt")  # Windows


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
        error.filename = str(path)  # which a write does not know
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
