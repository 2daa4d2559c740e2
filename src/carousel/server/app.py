"""The web app: HTTP in, text out. Who writes is handed in; no model, and no torch, is loaded here.

`GET /` is the page. `POST /v1/completions` writes, `POST /v1/score` reads, as OpenAI's clients ask
for it; `GET /openapi.json` describes all of it. Whatever is refused is
{"error": {"message", "type", "param", "code"}}, with the status that says why.
"""

import hmac
import math
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from carousel.errors import ConfigError
from carousel.limits import check_integer
from carousel.server import openapi, strict_json
from carousel.server.access_log import Record, log
from carousel.server.active_request import ActiveRequest, Client, ServerContext
from carousel.server.api_error import ApiError, api_error, from_http_error
from carousel.server.completions import complete
from carousel.server.connection_limit import client_of
from carousel.server.cors import Cors, is_preflight
from carousel.server.host_check import HostCheck, check_host
from carousel.server.hosts import Hosts
from carousel.server.metrics import Metrics
from carousel.server.models_endpoint import list_models, one_model, readiness
from carousel.server.page import page
from carousel.server.rate_limit import RateLimit
from carousel.server.request import MAX_BODY, Model, find_model, read_completion, read_score
from carousel.server.score import score
from carousel.server.strict_json import answer
from carousel.server.types import EngineClient, Job

HOST = "127.0.0.1"  # that a server binds to unless told otherwise
SECONDS = 60.0  # that a request may last

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
HEALTH = {"live", "ready"}  # to those whose probes send no Host header
OPEN = {"show_page", "static", *HEALTH}  # to those without a token


def create_app(
    engines: Sequence[EngineClient],
    *,
    token: str | None = None,
    characters_per_minute: int | None = None,
    seconds: float = SECONDS,
    log_prompts: bool = False,
    cors_origins: Sequence[str] = (),
    host: str = HOST,
    allowed_hosts: Sequence[str] = (),
) -> Flask:
    """Build the app around those who write.

    Args:
        engines: One for each model; the first is the default.
        token: What `Authorization: Bearer …` must say, in visible ASCII; None: everybody is served.
            The page, its files and the health checks ask for none.
        characters_per_minute: That each client may have written or scored. Clients are told apart
            by address, or are one where there is a token. None: as many as they like.
        seconds: That a request may last.
        log_prompts: The log, which has a line for each request, tells prompts and scored texts too.
        cors_origins: Origins (scheme://host[:port]) whose web pages may use the API from a browser;
            `*` alone: every page that a browser opens, with a token only those that send it.
        host: The address that the server binds to; it decides which hosts requests may name.
        allowed_hosts: Further hosts that they may name in their Host header (hosts.py); `*` alone:
            every host.

    Raises:
        ConfigError: If one of these makes no sense.
    """
    context = _front(engines, token, characters_per_minute, seconds)
    cors = Cors(cors_origins)
    hosts = Hosts(host, allowed_hosts, has_token=token is not None)
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.url_map.merge_slashes = False  # no redirects: an address is right or wrong
    _add_page(app, context, has_token=token is not None)
    description = openapi.document(
        context.models, has_token=token is not None, origins=cors.origins, hosts=hosts.describe()
    )
    _add_api(app, context, description, has_token=token is not None, log_prompts=log_prompts)
    _add_rules(app, context, token, cors, hosts)
    app.wsgi_app = HostCheck(app.wsgi_app)  # type: ignore[assignment, method-assign]
    app.extensions["cors"] = cors  # the port asks it about requests that never come this far
    return app


def _front(
    engines: Sequence[EngineClient], token: str | None, rate_limit: int | None, seconds: float
) -> ServerContext:
    infos = [engine.model_info for engine in engines]
    names = [info.name for info in infos]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"models need names of their own, and one at least, got {names}")
    if token is not None and not re.fullmatch("[!-~]+", token):  # what every client can send
        raise ConfigError("token must be of letters, digits and signs of ASCII, without spaces")
    if rate_limit is not None:
        check_integer("characters_per_minute", rate_limit, at_least=1)
    if not 0 < seconds < math.inf:
        raise ConfigError(f"seconds must be a positive number, got {seconds}")
    accounts = None if rate_limit is None else RateLimit(rate_limit)
    models = {
        info.name: Model(info, frozenset(info.characters), engine)
        for info, engine in zip(infos, engines, strict=True)
    }
    return ServerContext(models, Metrics(models), accounts, seconds)


def _add_page(app: Flask, context: ServerContext, *, has_token: bool) -> None:
    @app.get("/")
    def show_page() -> str:
        return page(context.models, has_token=has_token)


def _add_api(
    app: Flask,
    context: ServerContext,
    description: dict[str, Any],
    *,
    has_token: bool,
    log_prompts: bool,
) -> None:
    def begin(model: Model, jobs: Sequence[Job]) -> ActiveRequest:
        if log_prompts:
            g.record.prompts = tuple(dict.fromkeys(job.prompt for job in jobs))
        return ActiveRequest(context, model, jobs, _client(has_token), g.record)

    @app.post("/v1/completions")
    def completions() -> Response:
        params = read_completion(_json_body(), context.models)
        return complete(params, partial(begin, params.model, params.jobs))

    @app.post("/v1/score")
    def scores() -> Response:
        params = read_score(_json_body(), context.models)
        return score(params, partial(begin, params.model, [params.job]))

    @app.get("/v1/models")
    def models() -> Response:
        return answer(list_models(context.models))

    @app.get("/v1/models/<model>")
    def model(model: str) -> Response:
        return answer(one_model(find_model(model, context.models)))

    @app.get("/health/live")
    def live() -> Response:
        return answer({"status": "live"})

    @app.get("/health/ready")
    def ready() -> Response:
        return answer(readiness(context.models))

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(context.metrics.text(), content_type=context.metrics.content_type)

    @app.get("/openapi.json")
    def describe() -> Response:
        return answer(description)


def _add_rules(
    app: Flask, context: ServerContext, token: str | None, cors: Cors, hosts: Hosts
) -> None:
    """Add what holds for every request: number, host, origin, token, form of errors, log."""

    @app.before_request
    def admit() -> Response | None:
        g.record = Record(request.method, str(request.url_rule or "unknown"))
        check_host(request.environ, hosts, may_lack=request.endpoint in HEALTH)
        if is_preflight(request.method, request.headers):  # it never carries the token
            return Response(status=204, headers=cors.preflight(request.headers))
        cors.check_page(request.headers)
        if token is not None and request.endpoint not in OPEN:
            _check_token(token)
        return None

    @app.errorhandler(Exception)
    def refuse(error: Exception) -> Response:
        return _refused(api_error(error))

    @app.errorhandler(HTTPException)
    def fail(error: HTTPException) -> Response:
        return _refused(from_http_error(error))

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers.update(HEADERS)
        response.headers.update(cors.headers(request.headers.get("Origin")))
        response.headers["X-Request-Id"] = g.record.id
        response.call_on_close(partial(record_end, g.record, response.status_code))
        return response

    def record_end(record: Record, status: int) -> None:
        if record.api_error is not None:
            status = record.api_error.status
            context.metrics.rejected.labels(record.api_error.code).inc()
        context.metrics.requests.labels(record.route, status).inc()
        context.metrics.whole.labels(record.route).observe(record.seconds)
        log(record, status)


def _refused(error: ApiError) -> Response:
    g.record.api_error = error
    response = answer(error.body(), error.status)
    response.headers.update(error.headers)
    return response


def _check_token(token: str) -> None:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    is_right = hmac.compare_digest(given.strip().encode(), token.encode())
    if scheme.lower() != "bearer" or not is_right:
        message = "the access token is missing or wrong: send Authorization: Bearer TOKEN"
        headers = {"WWW-Authenticate": "Bearer"}
        raise ApiError(message, status=401, code="invalid_api_key", headers=headers)


def _client(has_token: bool) -> Client:
    """Return who asks; waitress, where it serves, knows whether they are still there."""
    is_gone = request.environ.get("waitress.client_disconnected", lambda: False)
    address = client_of(request.remote_addr or "")
    return Client("token" if has_token else address, address, is_gone)


def _json_body() -> object:
    """Return the JSON value that was sent.

    Raises:
        ApiError: If there is none, or it is too long.
    """
    # The content type is demanded: with it, no page of another origin can send this in silence.
    if request.mimetype != "application/json":
        message = "send JSON, with the header Content-Type: application/json"
        raise ApiError(message, status=415, code="not_json")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        message = "send the JSON as it is: no Content-Encoding is understood"
        raise ApiError(message, status=415, code="not_json")
    try:
        return strict_json.parse(request.get_data())
    except RequestEntityTooLarge:
        message = f"a request holds at most {MAX_BODY} bytes"
        raise ApiError(message, status=413, code="too_large") from None
