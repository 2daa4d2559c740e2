"""The parser of requests: waitress's, behind checks that it lacks.

Two programs that read the same bytes must find the same requests in them, or one of them can be
made to serve what the other did not see (request smuggling). So whatever could be read in two ways
is refused, and the connection closed. No check takes more than linear time: some of waitress's
patterns take quadratic time for what these checks refuse or shorten.
"""

import re
from typing import Any

from waitress.buffers import OverflowableBuffer  # type: ignore[import-untyped]
from waitress.parser import HTTPRequestParser, ParsingError  # type: ignore[import-untyped]
from waitress.utilities import BadRequest, RequestEntityTooLarge  # type: ignore[import-untyped]

from carousel.server.body import ChunkedBody, Discard
from carousel.server.request import MAX_BODY

MAX_HEADER = 16 << 10  # bytes
MAX_RECEIVED = 1 << 20  # bytes of a body in its transfer; of these, MAX_BODY are kept
MAX_LINE = 8 << 10  # bytes of a request line: no target of ours has more than some hundred
MAX_HEADERS = 200  # lines of them
MAX_BLANK = 8  # bytes of empty lines before a request

_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Z-]+ [!-~\x80-\xff]+ HTTP/1\.([01])")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_LENGTH_NAME, _CODING_NAME = b"content-length", b"transfer-encoding"
_SINGLE = {_LENGTH_NAME, _CODING_NAME, b"host"}  # of these, a request has one at most


class RequestParser(HTTPRequestParser):  # type: ignore[misc]
    """A parser that refuses what is ambiguous, and keeps no more of a body than is allowed."""

    path = "/"  # where there is no request line
    body_rcv: Any
    expect_continue: bool
    _blank = b""  # the empty lines so far
    _is_too_large = False

    def received(self, data: bytes) -> int:
        """Read on, and return how many bytes belong to this request.

        Empty lines before a request belong to it: it has begun with them.
        """
        if self.completed:
            return 0
        skipped = self._skip_blank_lines(data) if self._is_at_start else 0
        count = skipped
        if not self.completed and skipped < len(data):
            count += super().received(data[skipped:])
            self._bound()
        return len(data) if self.error else count  # nothing behind a mistake can be understood

    @property
    def held(self) -> int:
        """Bytes that are kept of it."""
        body = 0 if self.body_rcv is None else len(self.body_rcv.getbuf())
        return int(self.header_bytes_received) + body

    @property
    def _is_at_start(self) -> bool:
        return self.body_rcv is None and not self.header_plus

    def _skip_blank_lines(self, data: bytes) -> int:
        """Return how many bytes of empty lines come first."""
        skipped = len(data) - len(data.lstrip(b"\r\n"))
        self._blank += data[:skipped]
        is_whole = skipped == len(data) or len(self._blank) % 2 == 0
        is_regular = (b"\r\n" * MAX_BLANK).startswith(self._blank) and is_whole
        if not is_regular or len(self._blank) > MAX_BLANK or data[skipped : skipped + 1].isspace():
            self.error = BadRequest("a request begins with its request line")
            self.completed = True
        return skipped

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the lines before the body.

        Raises:
            ParsingError: If they are malformed, or can be read in two ways.
        """
        try:
            super().parse_header(_checked(header_plus))
        except ValueError:  # of the target: waitress leaves it to the server's loop
            raise ParsingError("the request's target is malformed") from None
        if self.proxy_netloc:  # it counts, rather than the header (RFC 9112, 3.2.2)
            if self.headers.get("HOST", "").lower() != self.proxy_netloc.lower():
                raise ParsingError("the target names another host than the Host header")
            self.headers["HOST"] = self.proxy_netloc
        if self.chunked:
            buffer = OverflowableBuffer(self.adj.inbuf_overflow)
            self.body_rcv = ChunkedBody(buffer, self.adj.max_request_body_size)
        if self.body_rcv is None:
            self.expect_continue = False  # there is nothing to go on with
        self._is_too_large = self.content_length > MAX_BODY

    def _bound(self) -> None:
        """Keep nothing of a body that is too long, and refuse it when all of it was received.

        A client that waits for `100 Continue` has sent nothing yet, and is refused at once; others
        would not read the answer before they have sent it all.
        """
        body = self.body_rcv
        if body is not None and (self._is_too_large or len(body) > MAX_BODY):
            self._is_too_large = True
            if not isinstance(body.buf, Discard):
                body.buf.close()
                body.buf = Discard()
            if self.completed or self.expect_continue:
                self.completed = True
                self.error = self.error or RequestEntityTooLarge("the body is too long")
        if self.error:
            self.expect_continue = False


def _checked(head: bytes) -> bytes:
    """Return the head of a request with no white space around its values.

    Raises:
        ParsingError: If it is malformed, or can be read in two ways.
    """
    request_line, *lines = head.removesuffix(b"\r\n\r\n").removesuffix(b"\r\n").split(b"\r\n")
    if len(request_line) > MAX_LINE:
        raise ParsingError(f"a request line has at most {MAX_LINE} bytes")
    match = _REQUEST_LINE.fullmatch(request_line)
    if match is None:
        raise ParsingError("the request line must be METHOD TARGET HTTP/1.1, each line with CR LF")
    if _BAD_PERCENT.search(request_line):
        raise ParsingError("% in a target must be followed by two hexadecimal digits")
    if len(lines) > MAX_HEADERS:
        raise ParsingError(f"a request has at most {MAX_HEADERS} headers")
    fields = [_field(line) for line in lines]
    single: dict[bytes, bytes] = {}
    for name, value in fields:
        plain = name.lower().replace(b"_", b"-")
        if plain in _SINGLE:
            if plain in single or b"_" in name:
                message = f"a request has one {plain.decode().title()} header, with a hyphen"
                raise ParsingError(message)
            single[plain] = value
    _check_framing(single, is_1_0=match[1] == b"0")
    return b"\r\n".join([request_line, *(b"%s: %s" % field for field in fields), b""])


def _field(line: bytes) -> tuple[bytes, bytes]:
    """Return the name and the value of a header."""
    name, colon, value = line.partition(b":")
    value = value.strip(b" \t")
    if not colon or not _NAME.fullmatch(name) or _CONTROL.search(value):
        raise ParsingError("a header must be NAME: VALUE on one line, without control characters")
    return name, value


def _check_framing(headers: dict[bytes, bytes], *, is_1_0: bool) -> None:
    """Raise if the end of the body is ambiguous."""
    length, coding = headers.get(_LENGTH_NAME), headers.get(_CODING_NAME)
    if length is not None and not _LENGTH.fullmatch(length):
        raise ParsingError("Content-Length must be a number of at most 18 digits, and no sign")
    if coding is None:
        return
    if coding.lower() != b"chunked" or is_1_0:
        raise ParsingError("Transfer-Encoding must be chunked, with HTTP/1.1")
    if length is not None:
        raise ParsingError("a request has Content-Length or Transfer-Encoding, not both")
