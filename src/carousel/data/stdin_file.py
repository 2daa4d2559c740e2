"""Text that comes through a pipe, kept in a file for the time of its reading: it is read twice."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import BinaryIO

from carousel.data.cache import ELSEWHERE, check_room
from carousel.errors import RunError, StorageError, TextError
from carousel.files import Lock, make_folder, remove_leftovers, scratch_file
from carousel.user_folders import explain_unwritable

_BUFFER = 1 << 20  # bytes


@contextmanager
def spooled(stream: BinaryIO, cache: Path) -> Iterator[Path]:
    """Yield a hidden file in the cache with all that the stream has; then it is deleted.

    What processes killed meanwhile left there is deleted too.

    Raises:
        TextError: If there is nothing.
        StorageError: If the cache has no room for it.
    """
    with explain_unwritable(cache, ELSEWHERE):
        make_folder(cache)
    with _own_name(cache) as name, scratch_file(cache / name) as path:
        try:
            with path.open("xb") as file:
                while block := stream.read(_BUFFER):
                    file.write(block)
                    check_room(cache, file.tell())  # its ids take as much again, and it may not end
                size = file.tell()
        except OSError as error:
            raise StorageError(
                f"stdin cannot be kept in {cache} while it is read ({error.strerror}): "
                "make room, or name another folder with --cache-dir"
            ) from None
        if size == 0:
            raise TextError("stdin is empty")
        yield path


@contextmanager
def _own_name(cache: Path) -> Iterator[str]:
    """Yield the first of stdin-1, stdin-2, … that no other process uses, cleared of leftovers."""
    for number in count(1):
        name = f"stdin-{number}"
        with ExitStack() as stack:
            try:
                with explain_unwritable(cache, ELSEWHERE):
                    stack.enter_context(Lock(cache / f"{name}.lock"))
            except RunError:
                continue
            remove_leftovers(cache, name)
            yield name
            return
