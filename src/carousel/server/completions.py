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
from carousel.server.active_request import ActiveRequest
from carousel.server.choice import Choice, whole
from carousel.server.request import Completion
from carousel.server.strict_json import answer, write
from carousel.server.types import Chunk

STREAM_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # a proxy that collects the text would hold it back
}


def complete(params: Completion, begin: Callable[[], ActiveRequest]) -> Response:
    """Answer in the way that was asked for.

    Raises:
        CarouselError: If the texts cannot be begun; if they are not streamed, or finished.
    """
    active = begin()
    if not params.is_streamed:
        with closing(active):
            return _answer(params, active)
    response = Response(
        _events(params, active), mimetype="text/event-stream", headers=STREAM_HEADERS
    )
    # On close, not in the generator: one that never began would never reach its `finally`.
    response.call_on_close(active.close)
    return response


def _answer(params: Completion, active: ActiveRequest) -> Response:
    chunks: list[list[Chunk]] = [[] for _ in params.jobs]
    try:
        for index, chunk in active.chunks():
            chunks[index].append(chunk)
    except CarouselError as error:
        raise active.end(error) from error
    texts = [whole(each) for each in chunks]
    parts = [choice.part(text) for choice, text in zip(_choices(params), texts, strict=True)]
    written = sum(len(text.text) for text in texts)
    return answer({**_head(params), "choices": parts, "usage": _usage(params, written)})


def _events(params: Completion, active: ActiveRequest) -> Iterator[str]:
    """Yield the texts as server-sent events; whatever goes wrong becomes one of them."""
    yield ":\n\n"  # a comment, so that the headers leave at once
    head = {**_head(params), **({"usage": None} if params.has_usage else {})}
    choices = _choices(params)
    written = 0
    try:
        for index, chunk in active.chunks():
            written += len(chunk.text)
            part = choices[index].part(chunk)
            if part is not None:
                yield _event({**head, "choices": [part]})
        if params.has_usage:
            yield _event({**head, "choices": [], "usage": _usage(params, written)})
    except Exception as error:
        # The framework's error handlers come too late for what happens after the headers.
        yield _event(active.end(error).body())
    yield "data: [DONE]\n\n"


def _choices(params: Completion) -> list[Choice]:
    return [Choice(index, job, params.is_echoed) for index, job in enumerate(params.jobs)]


def _head(params: Completion) -> dict[str, Any]:
    """Return what stands in the answer, and in every part of it."""
    return {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": params.model.info.name,
        "seed": params.seed,
    }


def _usage(params: Completion, written: int) -> dict[str, int]:
    """Count characters; a prompt counts once, however many texts go on from it."""
    read = sum(len(job.prompt) for job in params.jobs[:: params.n])
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }


def _event(value: dict[str, Any]) -> str:
    return f"data: {write(value)}\n\n"
