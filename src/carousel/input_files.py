"""Read files that somebody else may have made: no more than a stated size, and no device.

What belongs to a checkpoint, a run or a cache is a regular file. What a user names on the command
line (settings, a prompt, a table) may also be a pipe: `<(…)` of a shell, or /dev/stdin. Neither is
read without end, so /dev/zero, or a pipe whose writer never stops, costs a bounded time and memory.
"""

import os
import stat
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from carousel.errors import UnreadableError

MIB = 1 << 20

# The most that is read of each kind of file. Each is far above what a sound one has.
MANIFEST_LIMIT = MIB  # five files, a row of 100 bytes each
CONFIG_LIMIT = 4 * MIB  # config.json has about 3 kB, trainer.json 20 bytes
VOCABULARY_LIMIT = 32 * MIB  # all 1.1 million characters of Unicode, 16 bytes each at most
POINTER_LIMIT = 4096  # the name of a checkpoint, at most as long as a path
MARK_LIMIT = 4096  # carousel-run.json has 50 bytes, the file of a lock's holder 300
METRICS_LINE_LIMIT = 64 * 1024  # a line of metrics.jsonl has about 150 bytes
ENTRY_LIMIT = 64 * MIB  # corpus.json: 12 bytes for each 64 MiB of text
LIBRARY_LIMIT = 1024 * MIB  # the compiled kernels have about 5 MB
TOML_LIMIT = MIB // 16  # some 70 settings of a line each
PROMPT_LIMIT = 16 * MIB  # an hour of reading for a model of 4,000 characters a second
TOKEN_LIMIT = 64 * 1024  # what fits in a header of HTTP
INDEX_LIMIT = 256 * MIB  # some million books of a line each
TABLE_LIMIT = 512 * MIB  # some ten million rows; a table is held in memory

_BUFFER = MIB  # bytes read at a time
_OPEN = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_WAITING: int = getattr(os, "O_NONBLOCK", 0)  # opening a pipe without a writer would wait


def open_regular(path: Path) -> FileIO:
    """Open a regular file, or a link to one, for reading; anything else is refused unopened.

    Raises:
        UnreadableError: If it is a pipe, a device, a socket or a folder.
        OSError: If it cannot be opened.
    """
    _refuse_irregular(path, path.stat())
    file = FileIO(os.open(path, _OPEN | _NO_WAITING), "rb")
    try:
        _refuse_irregular(path, os.fstat(file.fileno()))  # it may have been replaced meanwhile
    except BaseException:
        file.close()
        raise
    return file


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Raises:
        UnreadableError: If it is of another kind, or larger.
        OSError: If it cannot be read.
    """
    with open_regular(path) as file:
        return _read(file.fileno(), limit, str(path))


def read_input(path: Path, limit: int) -> bytes:
    """Return the content of a file, pipe, socket or terminal of at most `limit` bytes.

    Raises:
        UnreadableError: If it is a folder or another device (/dev/null is empty), or larger.
        OSError: If it cannot be read.
    """
    _refuse_device(path, path.stat())
    descriptor = os.open(path, _OPEN)
    try:
        if not os.isatty(descriptor):
            _refuse_device(path, os.fstat(descriptor), is_open=True)
        return _read(descriptor, limit, str(path))
    finally:
        os.close(descriptor)


def read_stream(stream: BinaryIO, limit: int, name: str) -> bytes:
    """Return what a stream has, such as stdin: at most `limit` bytes.

    Raises:
        UnreadableError: If it has more.
    """
    data = stream.read(limit + 1)
    _refuse_larger(len(data), limit, name)
    return data


def _read(descriptor: int, limit: int, name: str) -> bytes:
    data = bytearray()
    while block := os.read(descriptor, min(_BUFFER, limit + 1 - len(data))):
        data += block
        _refuse_larger(len(data), limit, name)
    return bytes(data)


def _refuse_larger(size: int, limit: int, name: str) -> None:
    if size > limit:
        units = {"MiB": MIB, "KiB": 1024, "bytes": 1}
        shown = next(f"{limit // size} {name}" for name, size in units.items() if limit >= size)
        raise UnreadableError(
            f"{name} is larger than {shown}, the most that is read of such a file"
        )


def _refuse_irregular(path: Path, state: os.stat_result) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise UnreadableError(f"{path} is {_kind(state)}, not a regular file")


def _refuse_device(path: Path, state: os.stat_result, *, is_open: bool = False) -> None:
    """Refuse folders and devices; a terminal shows itself once it is open."""
    if stat.S_ISBLK(state.st_mode) or stat.S_ISDIR(state.st_mode):
        raise UnreadableError(f"{path} is {_kind(state)}: name a file or a pipe")
    if not stat.S_ISCHR(state.st_mode) or _is_null(state):
        return
    if is_open or not _may_be_terminal(path):
        raise UnreadableError(f"{path} is {_kind(state)}: name a file or a pipe")


def _is_null(state: os.stat_result) -> bool:
    with suppress(OSError):
        return state.st_rdev == os.stat(os.devnull).st_rdev  # noqa: PTH116
    return False


def _may_be_terminal(path: Path) -> bool:
    """Return whether a device is a terminal, by its name: opening another may have effects."""
    real = os.path.realpath(path)
    return real.startswith(("/dev/pts/", "/dev/tty", "/dev/console"))


def _kind(state: os.stat_result) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(state.st_mode), "no file")
