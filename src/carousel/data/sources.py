"""The files of a text, and their bytes: plain, gzip or zstd by the file's extension."""

import gzip
import os
import stat
import sys
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from importlib import import_module
from io import FileIO
from pathlib import Path
from typing import Any, Self

from carousel.errors import TextError
from carousel.input_files import open_regular
from carousel.locks import is_lock
from carousel.output_folders import is_name_of_lock, kind_of_output

Advance = Callable[[int], None]  # told how many bytes were read since it was last called
LeftOut = Callable[[Path, str], None]  # told a folder that is no part of the text, and what it is

_NO_CONTENT = 1 << 20  # bytes of a gzip file that may hold no content: names, zeros, empty members
_JUNCTION = (
    0xA0000003  # the reparse tag of Windows' links between folders: IO_REPARSE_TAG_MOUNT_POINT
)


def find_files(
    paths: Sequence[Path],
    pattern: str = "*",
    *,
    caches: Collection[Path] = (),
    left_out: LeftOut = lambda folder, kind: None,
) -> list[Path]:
    """Return the files that these paths stand for, in the order in which they are read.

    A file stands for itself. A folder stands for the regular files in it and in the folders below
    it whose name fits the pattern, in the order of the code points of their relative paths; left
    out are empty files, names with a leading dot, what lies behind a link to a folder (links to
    files are followed), and what Carousel writes: runs, checkpoints, forecasts and caches below the
    folder, which would change the text with each command.

    Args:
        paths: Files and folders.
        pattern: Of the names of files in folders.
        caches: Folders that are left out if they stand below one of the paths.
        left_out: Told each folder of Carousel's that is left out, and what it is.

    Raises:
        TextError: If there is no path, one is missing or no regular file, a link in a folder leads
            nowhere, or a folder has no file that fits.
        OSError: If a folder cannot be read.
    """
    if not paths:
        raise TextError("no text given: name at least one file")
    skipped = {identity for folder in caches if (identity := _identity(folder)) is not None}

    def kind_of(folder: Path) -> str | None:
        is_cache = bool(skipped) and _identity(folder) in skipped
        kind = "a cache" if is_cache else kind_of_output(folder)
        if kind is not None:
            left_out(folder, kind)
        return kind

    return [file for path in paths for file in _files_of(path, pattern, kind_of)]


def size_in_bytes(files: Sequence[Path]) -> int:
    """Return how much there is to read, as it lies on disk.

    Raises:
        TextError: If there is no file, or one is missing, empty or something other than a file.
    """
    if not files:
        raise TextError("no text given: name at least one file")
    return sum(_size(file) for file in files)


def is_compressed(path: Path) -> bool:
    """Return whether the content is compressed."""
    return path.suffix.lower() in (".gz", ".zst")


def read_blocks(path: Path, size: int, advance: Advance) -> Iterator[bytes]:
    """Yield the content of a file, decompressed, in blocks of at most `size` bytes.

    Args:
        path: Its ending says how it is compressed: .gz (any number of gzip members), .zst (any
            number of zstd frames), or not at all.
        size: At least 1; memory is bounded by it, whatever the compression ratio.
        advance: Told the bytes on disk as they are used up.

    Raises:
        TextError: If compressed content is damaged or cut short.
        OSError: If the file cannot be read; it names the file.
    """
    told = 0
    with open_regular(path) as file:
        content, damage = _decompressor(path, file)
        with content:
            while True:
                try:
                    block: bytes = content.read(size)
                    position = file.tell()
                except damage as error:
                    kind = "gzip" if path.suffix.lower() == ".gz" else "zstd"
                    raise TextError(f"{path} cannot be read as {kind}: {error}") from None
                except OSError as error:
                    error.filename = error.filename or str(path)  # reading knows no name
                    raise
                advance(position - told)
                told = position
                if not block:
                    return
                yield block


def _decompressor(path: Path, file: FileIO) -> tuple[Any, tuple[type[Exception], ...]]:
    """Return what reads the content, and what it raises if that is damaged."""
    match path.suffix.lower():
        case ".gz":
            return _Gzip(file), (EOFError, zlib.error, gzip.BadGzipFile)
        case ".zst":
            zstd = import_module(
                "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
            )
            return zstd.ZstdFile(file), (EOFError, zstd.ZstdError)
        case _:
            return file, ()


class _BoundedInput:
    """Compressed bytes, at most a MiB of them until `spent` is set to 0 again."""

    def __init__(self, file: FileIO) -> None:
        self._file, self.spent = file, 0

    def seek(self, place: int, /) -> int:
        """Seek, as a file does."""
        return self._file.seek(place)

    def read(self, size: int, /) -> bytes:
        """Return bytes as a file does.

        Raises:
            gzip.BadGzipFile: If so many were read that no sound file has them without content.
        """
        data = self._file.read(size)
        self.spent += len(data)
        if self.spent > _NO_CONTENT:
            raise gzip.BadGzipFile("it has a MiB and more without content")
        return data


class _Gzip:
    """The content of a gzip file; stretches without content are bounded.

    Python reads the fields of a header, and the zeros between two members, byte by byte: 30 MB of
    them would take a minute.
    """

    def __init__(self, file: FileIO) -> None:
        self._input = _BoundedInput(file)
        self._content = gzip.GzipFile(fileobj=self._input)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._content.close()

    def read(self, size: int) -> bytes:
        """Return `size` bytes of content, fewer at its end."""
        parts, left = list[bytes](), size
        while left and (part := self._content.read1(left)):
            parts.append(part)
            left -= len(part)
            self._input.spent = 0
        return b"".join(parts)


def _size(path: Path) -> int:
    status = _status(path)
    if stat.S_ISDIR(status.st_mode):
        raise TextError(f"{path} is a folder; name the text files in it")
    if status.st_size == 0:
        raise TextError(f"{path} is empty")
    return status.st_size


def _status(path: Path) -> os.stat_result:
    """Return what the disk says of a file or folder; anything else is refused."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise TextError(f"no such file: {path}") from None
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise TextError(f"{path} is not a regular file; save its content to one first")
    return status


def _files_of(path: Path, pattern: str, kind_of: Callable[[Path], str | None]) -> list[Path]:
    if not stat.S_ISDIR(_status(path).st_mode):
        return [path]
    found = sorted(_below(path, pattern, kind_of))
    if not found:
        raise TextError(f"folder {path} has no file that fits {pattern} and holds something")
    return [path / relative for relative in found]


def _below(folder: Path, pattern: str, kind_of: Callable[[Path], str | None]) -> Iterator[str]:
    """Yield the path, relative to the folder, of each file in it that belongs to the text."""
    waiting = [""]
    while waiting:
        parent = waiting.pop()
        with os.scandir(folder / parent) as entries:
            for entry in entries:
                relative = parent + entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if not _is_junction(entry) and kind_of(folder / relative) is None:
                        waiting.append(relative + "/")
                elif is_name_of_lock(entry.name) and is_lock(folder / relative):
                    continue
                elif fnmatchcase(entry.name, pattern) and _holds_something(entry):
                    yield relative


def _identity(folder: Path) -> tuple[int, int] | None:
    """Return what tells a folder from all others, whatever its path; None if there is none."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_junction(entry: os.DirEntry[str]) -> bool:
    tag: int = getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0)
    return tag == _JUNCTION


def _holds_something(entry: os.DirEntry[str]) -> bool:
    try:
        status = entry.stat()
    except FileNotFoundError:
        raise TextError(f"no such file: {entry.path} is a link that leads nowhere") from None
    return stat.S_ISREG(status.st_mode) and status.st_size > 0
