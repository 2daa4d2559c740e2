"""The API's description in OpenAPI 3.1, made of the tables that requests are checked by."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from carousel._version import __version__
from carousel.server import schemas
from carousel.server.fields import Schema, object_schema
from carousel.server.origin import ANY
from carousel.server.request import (
    COMPLETION,
    MAX_BODY,
    MAX_CANDIDATES,
    MAX_TEXTS,
    SCORE,
    Model,
)

FAILURES = {
    400: "The request is wrong; the error names the field and what would work.",
    401: "The access token is missing or wrong.",
    403: "A web page of another origin sent it; the error says how to allow that.",
    404: "There is no such address, or no such model.",
    413: f"The body is longer than {MAX_BODY} bytes.",
    415: "The body is not declared to be JSON.",
    421: "The Host header names another host; `carousel serve --allowed-host NAME` adds one.",
    429: "No room, or the client's characters of this minute are used up: see Retry-After.",
    500: "The text could not be finished.",
    503: "The model cannot write now; the error says why (`unavailable`). Or the server was full "
    "and this client had more texts than its equal share (`overloaded`).",
    504: "The request took too long.",
}
POSTED = tuple(FAILURES)
READ = (400, 401, 403, 421, 500)


def document(
    models: Mapping[str, Model],
    *,
    has_token: bool,
    origins: Collection[str] = (),
    hosts: str = "every name",
) -> dict[str, Any]:
    """Describe the API of these models, its limits included, to the last character they know.

    Args:
        models: By name.
        has_token: A token is needed.
        origins: Of the web pages that may use it in a browser, beside its own page.
        hosts: Which hosts the Host header may name.
    """
    scheme = {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Carousel",
            "version": __version__,
            "description": "Character-level language models. A token is a character. "
            + f"{_cors(origins)} The Host header may name {hosts} (--allowed-host NAME adds one).",
        },
        "servers": [{"url": "/"}],
        "paths": _paths(models),
        "components": {"schemas": {"Error": schemas.ERROR}, **(scheme if has_token else {})},
        **({"security": [{"token": []}]} if has_token else {}),
    }


def _cors(origins: Collection[str]) -> str:
    """Describe which web pages of other origins may use the API in a browser."""
    if not origins:
        return (
            "Web pages of other origins may not use it from a browser (CORS) until the server is "
            "started with --cors-origin ORIGIN."
        )
    pages = "every origin" if ANY in origins else ", ".join(sorted(origins))
    return f"Web pages of {pages} may use it from a browser (CORS, --cors-origin)."


def _paths(models: Mapping[str, Model]) -> dict[str, Any]:
    """Return what can be asked of each address."""
    texts = _json(schemas.COMPLETION) | {"text/event-stream": {"schema": schemas.EVENT}}
    counts = {"text/plain": {"schema": schemas.STRING}}
    state = _json(schemas.STATE)
    names = {"name": "model", "in": "path", "required": True, "schema": {"enum": [*models]}}
    return {
        "/v1/completions": {
            "post": _post("Write texts that go on from prompts", _any(models, _completion), texts)
        },
        "/v1/score": {
            "post": _post("Say how likely a text is", _any(models, _score), _json(schemas.SCORED))
        },
        "/v1/models": {"get": _get("The models", _json(schemas.MODELS))},
        "/v1/models/{model}": {
            "parameters": [names],
            "get": _get("One model", _json(schemas.MODEL), 404),
        },
        "/health/live": {"get": _get("Is the server there?", state) | {"security": []}},
        "/health/ready": {"get": _get("Can every model write?", state, 503) | {"security": []}},
        "/metrics": {"get": _get("Counts, for Prometheus", counts)},
        "/openapi.json": {"get": _get("This description", _json({"type": "object"}))},
    }


def _post(summary: str, body: Schema, answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": _json(body)},
        "responses": _responses(answer, POSTED),
    }


def _get(summary: str, answer: dict[str, Any], *failures: int) -> dict[str, Any]:
    return {"summary": summary, "responses": _responses(answer, (*READ, *failures))}


def _responses(answer: dict[str, Any], failures: Iterable[int]) -> dict[str, Any]:
    headers = {"X-Request-Id": {"schema": {"type": "string", "pattern": "^req-[0-9a-f]{32}$"}}}
    error = _json({"$ref": "#/components/schemas/Error"})
    found = {"200": {"description": "Done.", "headers": headers, "content": answer}}
    return found | {
        str(status): {"description": FAILURES[status], "headers": headers, "content": error}
        for status in sorted(failures)
    }


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _any(models: Mapping[str, Model], describe: Callable[[Model], Schema]) -> Schema:
    """Return what a request to any of the models may hold; one that names none is to the first."""
    each = [describe(model) for model in models.values()]
    for name, schema in zip(models, each, strict=True):
        is_first = schema is each[0]
        schema["properties"]["model"] = {"enum": [name, None] if is_first else [name]}
        schema["required"] += [] if is_first else ["model"]
    return each[0] if len(each) == 1 else {"anyOf": each}


def _completion(model: Model) -> Schema:
    schema = object_schema(COMPLETION) | {"required": []}
    prompt = COMPLETION["prompt"].schema()["anyOf"][0] | _spelling(model)
    schema["description"] = (
        f"A request is for at most {MAX_TEXTS} texts, prompts times n, and up to {MAX_CANDIDATES} "
        "candidates of each. Choices are in the order of the prompts, then of the samples. null "
        "asks for nothing in every field, known or not; any other value of a setting that is not "
        "supported is refused, except those listed here, which change nothing."
    )
    # What one field may hold depends on another: the texts of all prompts together, and best_of.
    schema["anyOf"] = [_each(n, prompt) for n in range(1, MAX_TEXTS + 1)]
    return schema


def _each(n: int, prompt: Schema) -> Schema:
    """Return what holds where n texts of each prompt are asked for."""
    most = MAX_TEXTS // n
    prompts = {"type": "array", "items": prompt, "minItems": 1, "maxItems": most}
    properties = {
        "n": {"enum": [n, None] if n == 1 else [n]},
        "best_of": {"enum": [n, None]},
        "prompt": {"anyOf": [prompt, prompts, {"type": "null"}]},
    }
    return {"properties": properties, "required": [] if n == 1 else ["n"]}


def _score(model: Model) -> Schema:
    schema = object_schema(SCORE)
    schema["properties"]["text"] = SCORE["text"].schema() | _spelling(model)
    return schema | {"required": ["text"]}


def _spelling(model: Model) -> Schema:
    """Return what a text of the model's characters is: their class, and how many at most."""
    ranges = "".join(map(_range, _runs(sorted(map(ord, model.known)))))
    return {"pattern": f"^[{ranges}]*$", "maxLength": model.longest_prompt}


def _runs(codes: list[int]) -> list[tuple[int, int]]:
    """Return the runs of consecutive numbers in an ascending list, as first and last of each."""
    starts = [c for c, before in zip(codes, [None, *codes[:-1]], strict=True) if c - 1 != before]
    ends = [c for c, after in zip(codes, [*codes[1:], None], strict=True) if c + 1 != after]
    return list(zip(starts, ends, strict=True))


def _range(run: tuple[int, int]) -> str:
    first, last = (re.sub(r"([\\\]\[^-])", r"\\\1", chr(code)) for code in run)
    return first if first == last else f"{first}-{last}"
