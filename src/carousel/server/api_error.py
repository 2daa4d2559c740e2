"""Errors as the client receives them: {"error": {"message", "type", "param", "code"}}.

The codes are a fixed set, so that they can also be the label of a metric.
"""

import logging
from collections.abc import Mapping
from typing import Any

from werkzeug.exceptions import HTTPException, MethodNotAllowed

from carousel.errors import CarouselError, UsageError
from carousel.server.types import Busy, Overloaded, Unavailable

logger = logging.getLogger("carousel.server")

GONE = 499  # a status of the log alone: nobody is there to receive it

_TYPES = {401: "authentication_error", 429: "rate_limit_error", 504: "timeout"}
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "not_json"}
_OWN_WORDS = {
    404: "there is no such address; GET /openapi.json describes those there are "
    "(POST /v1/completions writes)"
}
_STATUSES = {
    Busy: (429, "busy"),
    Overloaded: (503, "overloaded"),
    Unavailable: (503, "unavailable"),
    UsageError: (400, "invalid"),
}


class ApiError(CarouselError):
    """A request that is not, or no longer, served.

    Attributes:
        status: Of HTTP.
        code: One word for programs, of a fixed set.
        param: The field that is wrong, if it is one.
        headers: That go with the status.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str = "invalid",
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the JSON value that is sent."""
        error = {"message": str(self), "type": kind(self.status)}
        return {"error": {**error, "param": self.param, "code": self.code}}


def kind(status: int) -> str:
    """Return the type of the errors that have a status."""
    return _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")


def code_of(status: int) -> str:
    """Return the code of an error that has a status and nothing else to say."""
    return _CODES.get(status, "invalid" if status < 500 else "failed")


def api_error(error: Exception) -> ApiError:
    """Return the refusal that an error becomes; what nobody foresaw goes to the log, not out."""
    if isinstance(error, ApiError):
        return error
    if not isinstance(error, CarouselError):
        logger.error("a request failed", exc_info=error)
        return ApiError("the server made a mistake; its log says more", status=500, code="failed")
    known = (answer for cause, answer in _STATUSES.items() if isinstance(error, cause))
    status, code = next(known, (500, "failed"))
    headers = {"Retry-After": "1"} if status in (429, 503) else None
    return ApiError(str(error), status=status, code=code, headers=headers)


def from_http_error(error: HTTPException) -> ApiError:
    """Return the refusal that an error of the web framework becomes, in one line."""
    status = error.code or 500
    code = code_of(status)
    message = _OWN_WORDS.get(status) or " ".join((error.description or error.name).split())
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        methods = sorted({*error.valid_methods} - {"HEAD", "OPTIONS"})
        message = f"this address takes {' and '.join(methods)}"
    headers = {name: value for name, value in error.get_headers() if name == "Allow"}
    return ApiError(message, status=status, code=code, headers=headers)
