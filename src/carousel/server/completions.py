"""POST /v1/completions: texts that go on from prompts, whole or as they are written.

A stream is server-sent events, each a line `data: …` and an empty one: parts of the texts, then,
where asked for, the counts of characters, and [DONE]. What goes wrong on the way is one more event,
of the form of every error.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from flask import Response

from carousel.errors import CarouselError
from carousel.server.active_request import Work
from carousel.server.choice import Choice, whole
from carousel.server.request import Completion
from carousel.server.strict_json import answer, write
from carousel.server.types import Piece

STREAM_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # a proxy that collects the text would hold it back
}


def complete(asked: Completion, begin: Callable[[], Work]) -> Response:
    """Answer in the way that was asked for.

    Raises:
        CarouselError: If the texts cannot be begun; if they are not streamed, or finished.
    """
    work = begin()
    if not asked.is_streamed:
        with closing(work):
            return _answer(asked, work)
    response = Response(_events(asked, work), mimetype="text/event-stream", headers=STREAM_HEADERS)
    # On close, not in the generator: one that never began would never reach its `finally`.
    response.call_on_close(work.close)
    return response


def _answer(asked: Completion, work: Work) -> Response:
    pieces: list[list[Piece]] = [[] for _ in asked.jobs]
    try:
        for index, piece in work.pieces():
            pieces[index].append(piece)
    except CarouselError as error:
        raise work.end(error) from error
    texts = [whole(each) for each in pieces]
    parts = [choice.part(text) for choice, text in zip(_choices(asked), texts, strict=True)]
    written = sum(len(text.text) for text in texts)
    return answer({**_head(asked), "choices": parts, "usage": _usage(asked, written)})


def _events(asked: Completion, work: Work) -> Iterator[str]:
    """Yield the texts as server-sent events; whatever goes wrong becomes one of them."""
    yield ":\n\n"  # a comment, so that the headers leave at once
    head = {**_head(asked), **({"usage": None} if asked.has_usage else {})}
    choices = _choices(asked)
    written = 0
    try:
        for index, piece in work.pieces():
            written += len(piece.text)
            part = choices[index].part(piece)
            if part is not None:
                yield _event({**head, "choices": [part]})
        if asked.has_usage:
            yield _event({**head, "choices": [], "usage": _usage(asked, written)})
    except Exception as error:
        # The framework's error handlers come too late for what happens after the headers.
        yield _event(work.end(error).body())
    yield "data: [DONE]\n\n"


def _choices(asked: Completion) -> list[Choice]:
    return [Choice(index, job, asked.is_echoed) for index, job in enumerate(asked.jobs)]


def _head(asked: Completion) -> dict[str, Any]:
    """Return what stands in the answer, and in every part of it."""
    return {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": asked.model.card.name,
        "seed": asked.seed,
    }


def _usage(asked: Completion, written: int) -> dict[str, int]:
    """Count characters; a prompt counts once, however many texts go on from it."""
    read = sum(len(job.prompt) for job in asked.jobs[:: asked.n])
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }


def _event(value: dict[str, Any]) -> str:
    return f"data: {write(value)}\n\n"
