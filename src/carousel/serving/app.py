"""The web app: HTTP in, text out. The model is handed in, never loaded here.

`GET /` is the page, `GET /healthz` says that it runs, `POST /generate` writes. The text comes as
server-sent events, each a line `data: …` and an empty one: {"text": "…"} for every piece, then
{"finish_reason": "stop" or "length"} or {"error": {"message": "…"}}, and [DONE] at the end. What
is refused before it begins is {"error": {"message": "…"}} with the status that says why.
"""

import json
from collections.abc import Generator, Iterator
from threading import BoundedSemaphore
from typing import Any

from flask import Flask, Response, jsonify, render_template, request
from werkzeug import Response as WerkzeugResponse
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, TooManyRequests

from carousel.errors import CarouselError
from carousel.models.base import LanguageModel
from carousel.sampling.config import SamplingConfig
from carousel.sampling.generate import continue_text, room
from carousel.sampling.stop import Finish
from carousel.serving.request import MAX_LENGTH, MAX_PROMPT, read_request
from carousel.text.vocabulary import Vocabulary

MAX_BODY = 64 * 1024  # bytes: MAX_PROMPT characters in any JSON spelling, and room for the rest
MAX_STREAMS = 8  # texts written at the same time; who comes then is asked to try again

# What stands in the form at first, as far as the model has characters and positions for it.
OPENING = "Once upon a time"
LENGTH = 600  # characters

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
STREAM_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # a proxy that collects the text would hold it back
}


def create_app(
    model: LanguageModel,
    vocabulary: Vocabulary,
    *,
    name: str = "Carousel",
    max_streams: int = MAX_STREAMS,
) -> Flask:
    """Build the app around a trained model.

    Args:
        model: In evaluation mode; read by many threads at once, changed by none.
        vocabulary: The characters of the model's ids.
        name: What the page calls the model.
        max_streams: Texts written at the same time.
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["MAX_STREAMS"] = max_streams
    streams = BoundedSemaphore(max_streams)

    @app.get("/")
    def page() -> str:
        is_known = set(OPENING) <= set(vocabulary.itos) and room(model, len(OPENING)) >= LENGTH
        opening = OPENING if is_known else ""
        longest = min(MAX_LENGTH, room(model, 1))
        return render_template(
            "page.html",
            name=name,
            opening=opening,
            defaults=SamplingConfig(),
            vocab_size=len(vocabulary),
            max_prompt=min(MAX_PROMPT, model.longest_stream or MAX_PROMPT),
            max_length=longest,
            length="" if model.longest_stream else LENGTH,
        )

    @app.get("/healthz")
    def health() -> Response:
        return jsonify(status="ok", model=name, vocab_size=len(vocabulary))

    @app.post("/generate")
    def generate() -> Response:
        asked = read_request(_json_body())
        text = continue_text(
            model, vocabulary, asked.prompt, asked.sampling, length=asked.length, stop=asked.stop
        )
        if not streams.acquire(blocking=False):
            busy = f"{max_streams} texts are being written already; try again in a moment"
            raise TooManyRequests(busy, retry_after=1)
        response = Response(_events(text), mimetype="text/event-stream", headers=STREAM_HEADERS)
        # On close, not in the generator: one that never began would never reach its `finally`.
        response.call_on_close(streams.release)
        return response

    @app.errorhandler(CarouselError)
    def refuse(error: CarouselError) -> tuple[Response, int]:
        return jsonify(_error(str(error))), 400

    @app.errorhandler(HTTPException)
    def fail(error: HTTPException) -> WerkzeugResponse:
        response = error.get_response()  # with the headers of its status: Allow, Retry-After
        response.data = json.dumps(_error(error.description or error.name)) + "\n"
        response.content_type = "application/json"
        return response

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    return app


def _json_body() -> Any:
    """Return the JSON value that was sent.

    Raises:
        HTTPException: If there is none, or it is too long.
    """
    # The content type is demanded: with it, no page of another origin can send this in silence.
    if not request.is_json:
        raise BadRequest("send JSON, with the header Content-Type: application/json")
    try:
        return json.loads(request.get_data())
    except RequestEntityTooLarge:
        raise RequestEntityTooLarge(f"a request holds at most {MAX_BODY} bytes") from None
    except (ValueError, RecursionError):  # not JSON, not UTF-8, or nested too deeply
        raise BadRequest("the body is not valid JSON") from None


def _events(text: Generator[str, None, Finish]) -> Iterator[str]:
    """Yield the text as server-sent events; whatever goes wrong becomes one of them."""
    yield ":\n\n"  # a comment, so that the headers leave at once
    try:
        while True:
            yield _event({"text": next(text)})
    except StopIteration as end:
        yield _event({"finish_reason": end.value})
    except CarouselError as error:
        yield _event(_error(str(error)))
    yield "data: [DONE]\n\n"


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message}}
