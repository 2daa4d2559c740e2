"""Files → one stream of text, in chunks: nothing here ever holds a whole file.

The text of a file is its decoded content without a byte order mark, with every line ending (CRLF, a
lone CR) as LF; nothing else is altered unless it is asked for. Between two files stands a blank
line: as many line feeds are added as the first one lacks.
"""

import codecs
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from carousel.data.nfc import nfc
from carousel.data.plain_text import (
    advice,
    check_chunks,
    check_format,
    check_head,
    check_wide,
)
from carousel.data.sources import Advance, find_files, is_compressed, read_blocks, size_in_bytes
from carousel.errors import ConfigError, TextError
from carousel.file_signatures import HEAD, WINDOW
from carousel.limits import check_fields

__all__ = [
    "BLOCK",
    "PLAIN",
    "Advance",
    "Reading",
    "find_files",
    "normalise_newlines",
    "read_text",
    "size_in_bytes",
]

BLOCK = 1 << 20  # bytes read at a time, and characters of a chunk, about

Errors = Literal["strict", "replace", "ignore"]
Normalize = Literal["none", "nfc"]

# Python calls these encodings too: they write names of hosts and parts of programs, or (UTF-7)
# cannot be read in pieces, since a stretch of any length is one unit.
_NO_ENCODINGS_OF_FILES = (
    "idna",
    "punycode",
    "raw-unicode-escape",
    "undefined",
    "unicode-escape",
    "utf-7",
)
_DROP_THEIR_MARK = ("utf-16", "utf-32", "utf-8-sig")


def _is_encoding_of_files(name: str) -> bool:
    try:
        codec = codecs.lookup(name)
        io.TextIOWrapper(io.BytesIO(), encoding=name)  # refuses rot13, hex and their like
    except (LookupError, ValueError):  # unknown; no name at all
        return False
    return codec.name.replace("_", "-") not in _NO_ENCODINGS_OF_FILES


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How files become text.

    Attributes:
        encoding: Of the files: utf-8, utf-16, latin-1, cp1252, shift_jis, gb18030, … (any text
            encoding that Python knows).
        errors: What to do with bytes that do not decode: strict refuses the file, replace puts
            U+FFFD, ignore leaves them out.
        normalize: nfc composes letters and their marks wherever Unicode has them as one character
            (its normal form C); none leaves the text as it is.
        pattern: Of the files in a folder, read those whose name fits, such as *.txt.

    Raises:
        ConfigError: If a value is not one of these.
    """

    encoding: str = "utf-8"
    errors: Errors = "strict"
    normalize: Normalize = "none"
    pattern: str = "*"

    def __post_init__(self) -> None:
        """Check every field; ConfigError names the one that is wrong."""
        check_fields(self)
        if not _is_encoding_of_files(self.encoding):
            raise ConfigError(
                f"encoding must be one that Python reads text in "
                f"(utf-8, utf-16, latin-1, cp1252, …), got {self.encoding!r}"
            )


PLAIN = Reading()


def read_text(
    files: Sequence[Path], reading: Reading = PLAIN, advance: Advance = lambda count: None
) -> Iterator[str]:
    """Return the text of these files, joined, in chunks of about BLOCK characters.

    Args:
        files: At least one; a name that ends in .gz or .zst is decompressed.
        reading: How their bytes become text.
        advance: Told the bytes read, as they lie on disk.

    Raises:
        TextError: At once as `size_in_bytes` does; while reading, if a file does not decode, naming
            the byte and its offset, if it is compressed and damaged, or holds no character.
        OSError: While reading, if a file cannot be read; it names the file.
    """
    size_in_bytes(files)
    chunks = _gathered(_joined(files, reading, advance))
    return nfc(chunks) if reading.normalize == "nfc" else chunks


def normalise_newlines(chunks: Iterable[str]) -> Iterator[str]:
    """Turn CRLF and CR into LF, also where a chunk ends between the two."""
    decoder = io.IncrementalNewlineDecoder(None, translate=True)
    for chunk in chunks:
        yield decoder.decode(chunk)
    yield decoder.decode("", final=True)


def _gathered(chunks: Iterable[str]) -> Iterator[str]:
    """Join what is short, so that a hundred thousand small files make a handful of chunks."""
    waiting, length = list[str](), 0
    for chunk in chunks:
        waiting.append(chunk)
        length += len(chunk)
        if length > BLOCK // 4:  # a block of bytes holds at least so many characters
            yield "".join(waiting)
            waiting, length = [], 0
    if length:
        yield "".join(waiting)


def _joined(files: Sequence[Path], reading: Reading, advance: Advance) -> Iterator[str]:
    for path in files[:-1]:
        ending = ""  # its last two characters
        for chunk in _file_text(path, reading, advance):
            ending = (ending + chunk[-2:])[-2:]
            yield chunk
        yield "\n" * (2 - (len(ending) - len(ending.rstrip("\n"))))
    yield from _file_text(files[-1], reading, advance)


def _file_text(path: Path, reading: Reading, advance: Advance) -> Iterator[str]:
    codec = codecs.lookup(reading.encoding).name
    chunks = check_chunks(_decoded(path, reading, advance), str(path), codec)
    if codec not in _DROP_THEIR_MARK:
        chunks = _without_mark(chunks, path, codec)
    is_empty = True
    for chunk in normalise_newlines(chunks):
        is_empty = is_empty and not chunk
        yield chunk
    if is_empty:
        raise TextError(f"{path} is empty")


def _without_mark(chunks: Iterator[str], path: Path, codec: str) -> Iterator[str]:
    for chunk in chunks:
        if chunk.startswith("\ufffe") and codec in ("utf-16-le", "utf-16-be"):
            raise TextError(
                f"{path} begins with the byte order mark of UTF-16 in the other order of bytes: "
                "--encoding utf-16 reads it"
            )
        if chunk:
            yield chunk.removeprefix("\ufeff")
            break
    yield from chunks


def _decoded(path: Path, reading: Reading, advance: Advance) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(reading.encoding)(reading.errors)
    codec = codecs.lookup(reading.encoding).name
    offset, head = 0, b""  # of the next byte to be decoded; the first HEAD bytes
    for block in chain(read_blocks(path, BLOCK, advance), [b""]):
        begin = offset - len(decoder.getstate()[0])  # a character may span two blocks
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeError as error:
            raise _refusal(path, reading, error, begin) from None
        if offset < HEAD:
            head += block[: HEAD - offset]
            if len(head) == HEAD or not block:
                check_head(head, str(path), codec)
        yield text
        offset += len(block)


def _refusal(path: Path, reading: Reading, error: UnicodeError, begin: int) -> TextError:
    """Return which byte, counted from `begin`, does not decode, and what may read the file."""
    codec = codecs.lookup(reading.encoding).name
    # UTF-16 or 32 without a byte order mark: another kind of error until Python 3.12.
    if not isinstance(error, UnicodeDecodeError) or error.reason.endswith("start with BOM"):
        return TextError(
            f"{path} has no byte order mark: --encoding {codec}-le or {codec}-be would say which "
            "byte of a character comes first"
        )
    head = next(read_blocks(path, WINDOW, lambda count: None), b"")
    try:
        check_format(head, str(path), codec)
        check_wide(head, str(path), codec)
    except TextError as refusal:
        return refusal
    byte, offset = error.object[error.start], begin + error.start
    where = " of the decompressed content" if is_compressed(path) else ""
    return TextError(
        f"{path} is not {reading.encoding.upper()}: byte 0x{byte:02x} at offset {offset}{where}; "
        + advice(head, codec)
    )
