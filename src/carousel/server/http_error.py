"""The answer to what is no request of HTTP, in the form of all errors."""

import json
from collections.abc import Iterable

from waitress.task import ErrorTask  # type: ignore[import-untyped]

from carousel.server.api_error import ApiError, code_of
from carousel.server.http_parser import MAX_HEADER
from carousel.server.request import MAX_BODY

MAX_MESSAGE = 200  # characters: a message may quote what was sent

_MESSAGES = {
    413: f"a request holds at most {MAX_BODY} bytes",
    431: f"the headers of a request hold at most {MAX_HEADER} bytes",
}


class HttpError(ErrorTask):  # type: ignore[misc]
    """Answers a request that could not be read, and closes the connection."""

    def execute(self) -> None:
        """Write the answer."""
        error = self.request.error
        status = 400 if error.code == 501 else error.code  # a transfer coding that nobody uses
        message = _MESSAGES.get(status) or _one_line(str(error.body))
        api_error = ApiError(message, status=status, code=code_of(status))
        body = json.dumps(api_error.body()).encode() + b"\n"
        self.status = f"{status} {error.reason}"
        self.response_headers = [
            ("Content-Type", "application/json"),
            ("Content-Security-Policy", "default-src 'none'"),
            ("X-Content-Type-Options", "nosniff"),
            *self._cors_headers(),
        ]
        self.content_length = len(body)
        self.set_close_on_finish()
        self.write(body)

    def _cors_headers(self) -> Iterable[tuple[str, str]]:
        """Return what lets a page of an allowed origin read the error."""
        cors = self.channel.server.cors
        return () if cors is None else cors.headers(self.request.headers.get("ORIGIN")).items()


def _one_line(text: str) -> str:
    line = " ".join(text[:MAX_MESSAGE].split())
    return "".join(character if " " <= character <= "~" else "?" for character in line)
