"""A stand-in for the `os` of files.py and appender.py: all is done, watched, and may be refused."""

# ruff: noqa: PTH102, PTH104, PTH105, PTH106, PTH108

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest

from carousel import appender, files


class Operation(NamedTuple):
    """One change of the disk: the function of os, and what it was given."""

    name: str
    path: Path | None = None  # of open, rename, replace, unlink, mkdir, rmdir; None: see descriptor
    new: Path | None = None  # of rename and replace
    descriptor: int = -1  # of write and fsync; of open, what it returned
    data: bytes = b""  # of write


class Killed(BaseException):
    """Stands for SIGKILL where the process should live on: nothing more reaches the disk."""


def killed_at(number: int) -> "Watch":
    """Return what lets this operation (from 0) and all after it not happen."""
    left = iter(range(number))

    def watch(operation: Operation) -> None:
        if next(left, None) is None:
            raise Killed

    return watch


Watch = Callable[[Operation], None]  # called before each operation; what it raises, the disk says


class Disk:
    """Every operation that can change the disk or make a change durable passes through here.

    Args:
        watch: May raise OSError or end the process; the operation is then not done.
        most: Bytes that one write takes at most.
        is_slow: False leaves out what fsync waits for; the machine itself loses no power in a test.
    """

    def __init__(
        self, watch: Watch = lambda operation: None, *, most: int = 1 << 30, is_slow: bool = False
    ) -> None:
        self.trace: list[Operation] = []
        self.attempts = 0  # the failed ones, too
        self._watch, self._most, self._is_slow = watch, most, is_slow

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)  # whatever only reads

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        assert not flags & os.O_TRUNC, "the models know no truncation"
        creates = bool(flags & os.O_CREAT) and not os.path.lexists(path)
        operation = Operation("open" if creates else "look", Path(path))
        self.attempts += 1
        self._watch(operation)
        descriptor = os.open(path, flags, mode)
        self.trace.append(operation._replace(descriptor=descriptor))
        return descriptor

    def write(self, descriptor: int, data: bytes) -> int:
        operation = Operation("write", descriptor=descriptor, data=bytes(data[: self._most]))
        return self._do(operation, lambda: os.write(descriptor, operation.data))

    def fsync(self, descriptor: int) -> None:
        sync = (lambda: os.fsync(descriptor)) if self._is_slow else (lambda: None)
        self._do(Operation("fsync", descriptor=descriptor), sync)

    def rename(self, old: Path, new: Path) -> None:
        self._do(Operation("rename", Path(old), Path(new)), lambda: os.rename(old, new))

    def replace(self, old: Path, new: Path) -> None:
        self._do(Operation("replace", Path(old), Path(new)), lambda: os.replace(old, new))

    def unlink(self, path: Path) -> None:
        self._do(Operation("unlink", Path(path)), lambda: os.unlink(path))

    def mkdir(self, path: Path) -> None:
        self._do(Operation("mkdir", Path(path)), lambda: os.mkdir(path))

    def rmdir(self, path: Path) -> None:
        self._do(Operation("rmdir", Path(path)), lambda: os.rmdir(path))

    def _do(self, operation: Operation, change: Callable[[], Any]) -> Any:
        self.attempts += 1
        self._watch(operation)
        result = change()
        self.trace.append(operation)
        return result


@contextmanager
def mounted(disk: Disk) -> Iterator[Disk]:
    """Let files.py and appender.py work on this disk."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (files, appender):
            patch.setattr(module, "os", disk)
        patch.delattr(files.fcntl, "F_FULLFSYNC", raising=False)  # macOS: plain fsync, as elsewhere
        yield disk


@contextmanager
def scratch(otherwise: Path) -> Iterator[Path]:
    """Yield a folder in memory, where the system offers that: tests make thousands of files."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield otherwise
        return
    with TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)
