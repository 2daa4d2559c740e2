"""One line in the log for each request: what it came to, not what was said in it."""

import logging
import time
import uuid
from dataclasses import dataclass, field

from carousel.server.api_error import ApiError
from carousel.server.cors import FORBIDDEN
from carousel.server.hosts import FOREIGN

logger = logging.getLogger("carousel.server")

METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])


@dataclass
class Record:
    """Facts about a request, collected while it is handled.

    Attributes:
        method: Of HTTP.
        route: The rule that its address fits, never the address itself.
        id: Tells it from others; the client is told it too.
        begun: When it came, of time.monotonic().
        characters: Written for it, or scored.
        prompts: What it was to go on from, or to score; kept only where they are to be logged.
        refusal: Why it was not served, or not to its end; a stream that fails has begun with 200.
    """

    method: str
    route: str
    id: str = field(default_factory=lambda: f"req-{uuid.uuid4().hex}")
    begun: float = field(default_factory=time.monotonic)
    characters: int = 0
    prompts: tuple[str, ...] = ()
    api_error: ApiError | None = None

    @property
    def seconds(self) -> float:
        """Return how long it has lasted."""
        return time.monotonic() - self.begun


def log(record: Record, status: int) -> None:
    """Write the line, prompts, where they are kept, in ASCII without control characters.

    A browser hides from a page why its origin or its host is refused, so the log says it.

    Args:
        record: Of the request.
        status: What it came to.
    """
    prompts = "".join(f" prompt={prompt!a}" for prompt in record.prompts)
    api_error = record.api_error
    note = (
        f" {api_error}" if api_error is not None and api_error.code in (FORBIDDEN, FOREIGN) else ""
    )
    logger.info(
        "%s %s %s %d %d characters %d ms%s%s",
        record.id,
        record.method if record.method in METHODS else "OTHER",
        record.route,
        status,
        record.characters,
        1000 * record.seconds,
        prompts,
        note,
    )
