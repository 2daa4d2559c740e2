"""Cross-origin requests (CORS): which web pages of other origins may use the API from a browser.

A browser asks first, by a preflight request, before it sends JSON or a token to another origin, and
hides every answer that does not name the page's origin. Without origins in the list all of that is
refused; the page that this server itself serves needs no permission.

Where every origin is allowed (`*`), a token still decides who is served; without a token every page
that somebody who reaches this server opens can use it. Cookies are never read, so
Access-Control-Allow-Credentials is never sent.
"""

import re
from collections.abc import Iterable

from werkzeug.datastructures import Headers

from carousel.server.api_error import ApiError
from carousel.server.origin import ANY, check_origins, is_origin

METHODS = "GET, HEAD, POST"
EXPOSED = "X-Request-Id, Retry-After"
MAX_AGE = 600  # seconds for which a browser may remember a preflight
MAX_NAMES = 64  # headers that a page may send
MAX_NAMES_LENGTH = 2000  # characters, of all their names together
FORBIDDEN = "origin_not_allowed"  # the code of the error

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
_FOREIGN = {"cross-site", "same-site"}  # Sec-Fetch-Site of pages that this server did not serve


class Cors:
    """The origins whose pages may use the API.

    Attributes:
        origins: As browsers send them, or `*` alone; empty: no page of another origin.
    """

    def __init__(self, origins: Iterable[str] = ()) -> None:
        """Check the origins; ConfigError if one is none."""
        self.origins = check_origins(origins)

    def headers(self, origin: str | None) -> dict[str, str]:
        """Return the headers of every answer to a request with this Origin header."""
        if not self.origins:
            return {}
        if ANY in self.origins:
            return {"Access-Control-Allow-Origin": ANY, "Access-Control-Expose-Headers": EXPOSED}
        vary = {"Vary": "Origin"}  # caches must not hand one origin's answer to another
        if origin not in self.origins:
            return vary
        allowed = {"Access-Control-Allow-Origin": origin}
        return {**vary, **allowed, "Access-Control-Expose-Headers": EXPOSED}

    def preflight(self, headers: Headers) -> dict[str, str]:
        """Return what the answer to a preflight request says beside `headers`.

        Raises:
            ApiError: If its origin is not allowed, or the names of headers are not names, or many.
        """
        self._check(headers["Origin"])
        names = _header_names(headers.get("Access-Control-Request-Headers", ""))
        answer = {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Max-Age": str(MAX_AGE),
        }
        if names:
            answer["Access-Control-Allow-Headers"] = ", ".join(names)
        if headers.get("Access-Control-Request-Private-Network") == "true":
            answer["Access-Control-Allow-Private-Network"] = "true"
        return answer

    def check_page(self, headers: Headers) -> None:
        """Refuse a request of which the browser says that a page of another origin sent it.

        Other requests with an Origin header are let through: they come from this server's page
        behind a proxy, from programs that are no browsers, or from browsers that ask by a preflight
        request before they send JSON.

        Raises:
            ApiError: If the page's origin is not allowed.
        """
        if "Origin" in headers and headers.get("Sec-Fetch-Site") in _FOREIGN:
            self._check(headers["Origin"])

    def _check(self, origin: str) -> None:
        if not self.origins & {ANY, origin}:
            raise ApiError(_explain(origin), status=403, code=FORBIDDEN)


def is_preflight(method: str, headers: Headers) -> bool:
    """Return whether a browser asks what a page of another origin may send."""
    return (
        method == "OPTIONS" and "Origin" in headers and "Access-Control-Request-Method" in headers
    )


def _explain(origin: str) -> str:
    """Return why a page of this origin is refused, and how to allow it, in ASCII."""
    if is_origin(origin):
        remedy = f"`carousel serve --cors-origin {origin}` allows it"
        return f"web pages of {origin} may not use this server (CORS): {remedy}"
    which = "null (files, sandboxed frames)" if origin == "null" else f"{origin[:100]!a}"
    remedy = "serve the page over HTTP and start `carousel serve --cors-origin` with its origin"
    return f"web pages of the origin {which} may not use this server (CORS): {remedy}"


def _header_names(value: str) -> list[str]:
    """Return the names in a list of headers that a page wants to send, each once.

    Raises:
        ApiError: If one is not a name, or there are too many.
    """
    names = [name for part in value.split(",") if (name := part.strip(" \t"))]
    if len(value) > MAX_NAMES_LENGTH or len(names) > MAX_NAMES:
        wanted = f"at most {MAX_NAMES} names and {MAX_NAMES_LENGTH} characters"
        raise ApiError(f"Access-Control-Request-Headers must have {wanted}")
    for name in names:
        if not _NAME.fullmatch(name):
            message = "Access-Control-Request-Headers must be names of headers"
            raise ApiError(f"{message}, got {name[:40]!a}")
    return list(dict.fromkeys(names))
