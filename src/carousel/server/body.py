"""The body of a request while it is received: never more is kept than a request may hold."""

import re
from io import BytesIO
from typing import BinaryIO

from waitress.buffers import OverflowableBuffer  # type: ignore[import-untyped]
from waitress.utilities import (  # type: ignore[import-untyped]
    BadRequest,
    Error,
    RequestEntityTooLarge,
)

MAX_LINE = 256  # bytes of a chunk's first line
MAX_TRAILER = 4096  # bytes of the lines after the last chunk

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")


class Discard:
    """A buffer (of waitress) that keeps nothing: the rest of a body that is too long."""

    def append(self, data: bytes) -> None:
        """Drop it."""

    def __len__(self) -> int:
        """Return 0."""
        return 0

    def getfile(self) -> BinaryIO:
        """Return an empty file."""
        return BytesIO()

    def close(self) -> None:
        """Do nothing."""


class ChunkedBody:
    """Receive a body in chunks (RFC 9112, 7.1) where waitress's own receiver is too lenient.

    Every line ends with CR LF, a size is of hexadecimal digits alone, and no line, chunk or trailer
    is longer than it needs to be.

    Args:
        buffer: To keep the data in.
        most: Bytes that one chunk may hold.

    Attributes:
        buf: The buffer.
        completed: Whether the last chunk and its trailer were received.
        error: What is wrong with it, for waitress.
    """

    def __init__(self, buffer: OverflowableBuffer, most: int) -> None:
        self.buf: OverflowableBuffer | Discard = buffer
        self.completed = False
        self.error: Error | None = None
        self._most = most
        self._line = b""  # the part of a line that has come
        self._left = 0  # bytes of the chunk that are still to come
        self._expects = self._size
        self._trailer = 0  # bytes

    def received(self, data: bytes) -> int:
        """Read on, and return how many bytes belong to the body."""
        place = 0
        while place < len(data) and not self.completed and self.error is None:
            if self._left:
                part = data[place : place + self._left]
                self.buf.append(part)
                self._left -= len(part)
                place += len(part)
                continue
            end = data.find(b"\n", place) + 1
            self._line += data[place : end or len(data)]
            place = end or len(data)
            if len(self._line) > MAX_LINE and self._expects != self._last:
                self.error = BadRequest("a chunk's first line is too long, or its end is missing")
            elif end:
                line, self._line = self._line, b""
                self._expects(line)
            elif len(self._line) > MAX_TRAILER:
                self.error = BadRequest("the lines after the last chunk are too long")
        return place

    def __len__(self) -> int:
        """Return how many bytes of the body are kept."""
        return len(self.buf)

    def getfile(self) -> BinaryIO:
        """Return them as a file."""
        file: BinaryIO = self.buf.getfile()
        return file

    def getbuf(self) -> OverflowableBuffer | Discard:
        """Return the buffer."""
        return self.buf

    def _size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            self.error = BadRequest("a chunk begins with its size in hexadecimal digits and CR LF")
            return
        self._left = int(match[1], 16)
        self._expects = self._end if self._left else self._last
        if self._left > self._most:
            self.error = RequestEntityTooLarge("a chunk is too long")

    def _end(self, line: bytes) -> None:
        self._expects = self._size
        if line != b"\r\n":
            self.error = BadRequest("a chunk is longer than its size says")

    def _last(self, line: bytes) -> None:
        self._trailer += len(line)
        self.completed = line == b"\r\n"
        if not line.endswith(b"\r\n") or self._trailer > MAX_TRAILER:
            self.error = BadRequest("the lines after the last chunk are too long, or lack CR LF")
