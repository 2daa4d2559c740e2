"""Files → one stream of text, in chunks: nothing here ever holds a whole file.

The text of a file is its UTF-8 content without a byte order mark, with every line ending (CRLF, a
lone CR) as LF; nothing else is altered. Between two files stands a blank line: as many line feeds
are added as the first one lacks.
"""

import codecs
import io
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from carousel.errors import TextError

BLOCK = 1 << 20  # bytes read at a time

Advance = Callable[[int], None]  # told how many bytes were read since it was last called


def read_text(paths: Sequence[Path], advance: Advance = lambda count: None) -> Iterator[str]:
    """Return the text of these files, joined, as chunks of no particular length.

    Raises:
        TextError: At once as `size_in_bytes` does; while reading, if a file is not UTF-8, naming
            the byte and its offset in the file, or holds no character.
    """
    size_in_bytes(paths)
    return _joined(paths, advance)


def size_in_bytes(paths: Sequence[Path]) -> int:
    """Return how much there is to read.

    Raises:
        TextError: If there is no path, or one is missing, empty or something other than a file.
    """
    if not paths:
        raise TextError("no text given: name at least one file")
    return sum(_size(path) for path in paths)


def normalise_newlines(chunks: Iterable[str]) -> Iterator[str]:
    """Turn CRLF and CR into LF, also where a chunk ends between the two."""
    decoder = io.IncrementalNewlineDecoder(None, translate=True)
    for chunk in chunks:
        yield decoder.decode(chunk)
    yield decoder.decode("", final=True)


def _size(path: Path) -> int:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise TextError(f"no such file: {path}") from None
    if stat.S_ISDIR(status.st_mode):
        raise TextError(f"{path} is a folder; name the text files in it")
    if not stat.S_ISREG(status.st_mode):
        raise TextError(f"{path} is not a regular file; save its content to one first")
    if status.st_size == 0:
        raise TextError(f"{path} is empty")
    return status.st_size


def _joined(paths: Sequence[Path], advance: Advance) -> Iterator[str]:
    for path in paths[:-1]:
        ending = ""  # its last two characters
        for chunk in _file_text(path, advance):
            ending = (ending + chunk)[-2:]
            yield chunk
        yield "\n" * (2 - (len(ending) - len(ending.rstrip("\n"))))
    yield from _file_text(paths[-1], advance)


def _file_text(path: Path, advance: Advance) -> Iterator[str]:
    is_empty = True
    for chunk in normalise_newlines(_without_mark(_decoded(path, advance))):
        is_empty = is_empty and not chunk
        yield chunk
    if is_empty:
        raise TextError(f"{path} is empty")


def _without_mark(chunks: Iterator[str]) -> Iterator[str]:
    for chunk in chunks:
        if chunk:
            yield chunk.removeprefix("\ufeff")
            break
    yield from chunks


def _decoded(path: Path, advance: Advance) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0  # of the next byte to be read
    with path.open("rb") as file:
        block = None
        while block != b"":
            block = file.read(BLOCK)
            begin = offset - len(decoder.getstate()[0])  # a character may span two blocks
            try:
                yield decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise TextError(
                    f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x} at offset "
                    f"{begin + error.start}; convert it to UTF-8 first"
                ) from None
            offset += len(block)
            advance(len(block))
