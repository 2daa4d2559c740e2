"""A file that grows at its end: the metrics of a run."""

import os
from contextlib import suppress
from pathlib import Path

from carousel.files import BINARY, sync_file, sync_folder, write_all
from carousel.plain_paths import NO_FOLLOW, refuse_other_kinds


class Appender:
    """A file that grows at its end, made by the first append.

    What was appended survives a kill at once, and a loss of power from the next `sync` on. A link,
    a pipe or a device of its name is refused.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._is_named = False  # is the file's name known to be on disk?

    def append(self, data: bytes) -> None:
        """Write at the end of the file; OSError may leave a part of it there."""
        if self._descriptor is None:
            refuse_other_kinds(self._path)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | BINARY | NO_FOLLOW
            self._descriptor = os.open(self._path, flags, 0o666)
        write_all(self._descriptor, data)

    def sync(self) -> None:
        """Wait until all that was appended is on the disk, and the file's name with it."""
        if self._descriptor is None:
            return
        sync_file(self._descriptor)
        if not self._is_named:
            sync_folder(self._path.parent)
            self._is_named = True

    def is_in_place(self) -> bool:
        """Return whether the file is still where it was made, or was not made yet."""
        if self._descriptor is None:
            return True
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.lstat(self._path))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def content(self) -> bytes:
        """Return the whole file, even one that was deleted meanwhile; nothing before an append."""
        if (descriptor := self._descriptor) is None:
            return b""
        os.lseek(descriptor, 0, os.SEEK_SET)
        return b"".join(iter(lambda: os.read(descriptor, 1 << 20), b""))

    def close(self) -> None:
        """Close the file; the next append opens it again."""
        if self._descriptor is not None:
            descriptor, self._descriptor, self._is_named = self._descriptor, None, False
            with suppress(OSError):  # of a network drive: nothing was promised since the last sync
                os.close(descriptor)
