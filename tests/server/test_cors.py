"""Web pages of other origins: refused unless listed, told how, and then allowed in every answer."""

import http.client
import json
import logging
from contextlib import closing
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from carousel.errors import ConfigError
from carousel.server.app import create_app
from carousel.server.cors import MAX_NAMES, MAX_NAMES_LENGTH
from carousel.server.request import MAX_BODY
from carousel.server.types import Busy, Unavailable
from server.answers import events, refused
from server.client import command
from server.fake_engine import FakeEngine
from server.running import serving

PAGE = "http://localhost:3000"
OTHER = "http://evil.example"
PATHS = (
    *("/v1/completions", "/v1/score", "/v1/models", "/v1/models/small", "/v1/no_such"),
    *("/openapi.json", "/health/live", "/health/ready", "/metrics", "/", "/no_such"),
)
# What the official client for JavaScript sends from a browser.
NAMES = "authorization,content-type,x-stainless-arch,x-stainless-os"


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def client_of(engine: FakeEngine, *origins: str, **settings: Any) -> FlaskClient:
    return create_app([engine], cors_origins=origins, **settings).test_client()


def preflight(
    client: FlaskClient, path: str = "/v1/completions", origin: str = PAGE, **headers: str
) -> TestResponse:
    """Ask as a browser does before it sends JSON to another origin."""
    params = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": NAMES,
    }
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.options(path, headers=params | named)


def allowed_headers(response: TestResponse) -> set[str]:
    """Return the headers by which a browser lets a page through."""
    return {name for name, _ in response.headers.items() if name.startswith("Access-Control-")}


# Off, as it is by default


@pytest.mark.parametrize("path", PATHS)
def test_a_preflight_is_refused_with_how_to_allow_it(engine: FakeEngine, path: str) -> None:
    for client in (client_of(engine), client_of(engine, token="to-ken"), client_of(engine, OTHER)):
        response = preflight(client, path)
        error = refused(response, 403)
        assert error["code"] == "origin_not_allowed"
        assert error["message"] == (
            f"web pages of {PAGE} may not use this server (CORS): "
            f"`carousel serve --cors-origin {PAGE}` allows it"
        )
        assert not allowed_headers(response)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_a_page_of_another_origin_sends_is_not_processed(
    engine: FakeEngine, site: str
) -> None:
    client = client_of(engine)
    headers = {"Origin": OTHER, "Sec-Fetch-Site": site}
    for response in (
        client.post("/v1/completions", json={"prompt": "a"}, headers=headers),
        client.post("/v1/completions", json={"prompt": "a", "stream": True}, headers=headers),
        client.post("/v1/completions", data='{"prompt": "a"}', headers=headers),
        client.post("/v1/score", json={"text": "ab"}, headers=headers),
        client.get("/v1/models", headers=headers),
    ):
        error = refused(response, 403)
        assert error["message"].endswith(f"`carousel serve --cors-origin {OTHER}` allows it")
        assert not allowed_headers(response)
    assert engine.jobs == []


def test_programs_and_the_page_of_the_server_itself_are_served(engine: FakeEngine) -> None:
    client = client_of(engine)
    for headers in (
        {},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"},  # also behind a proxy
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://localhost"},
    ):
        response = client.post("/v1/completions", json={"prompt": "a"}, headers=headers)
        assert response.status_code == 200
        assert not allowed_headers(response)
        assert "Vary" not in response.headers
    link = {"Sec-Fetch-Site": "cross-site"}  # somebody follows a link to the page
    assert client.get("/", headers=link).status_code == 200


def test_no_json_is_taken_from_what_a_form_can_send(engine: FakeEngine) -> None:
    """Without a preflight a browser sends three types of content; none of them is served."""
    client = client_of(engine)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        headers = {"Origin": OTHER, "Content-Type": kind}
        refused(client.post("/v1/completions", data='{"prompt": "a"}', headers=headers), 415)
    assert engine.jobs == []


@pytest.mark.parametrize(
    ("origin", "named"),
    [
        ("null", "of the origin null (files, sandboxed frames) may not"),
        ("", "of the origin '' may not"),
        ("é\x1b", r"of the origin '\xe9\x1b' may not"),
        ("http://a, http://b", "of the origin 'http://a, http://b' may not"),
        (f"http://{'a' * 9000}", f"of the origin 'http://{'a' * 93}' may not"),
        ("*", "of the origin '*' may not"),
    ],
)
def test_an_odd_origin_is_refused_in_plain_ascii(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture, origin: str, named: str
) -> None:
    caplog.set_level(logging.INFO, "carousel.server")
    for origins in ((), (PAGE,)):
        response = preflight(client_of(engine, *origins), origin=origin)
        message = refused(response, 403)["message"]
        assert named in message
        assert message.endswith("start `carousel serve --cors-origin` with its origin")
        assert not allowed_headers(response)
        line = caplog.records[-1].getMessage()
        assert line.isascii()
        assert line.isprintable()


def test_the_log_says_what_the_browser_hides(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "carousel.server")
    preflight(client_of(engine)).close()
    (record,) = caplog.records
    assert "OPTIONS /v1/completions 403 0 characters" in record.getMessage()
    assert record.getMessage().endswith(f"`carousel serve --cors-origin {PAGE}` allows it")


# On


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "to-ken"])
def test_a_preflight_of_a_listed_origin_is_granted_everywhere(
    engine: FakeEngine, path: str, token: str | None
) -> None:
    client = client_of(engine, "https://example.org", PAGE, token=token)
    response = preflight(client, path)
    assert response.status_code == 204
    assert response.data == b""
    headers = response.headers
    assert headers["Access-Control-Allow-Origin"] == PAGE
    assert headers["Vary"] == "Origin"
    assert headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST"
    assert headers["Access-Control-Allow-Headers"] == NAMES.replace(",", ", ")
    assert headers["Access-Control-Max-Age"] == "600"
    assert "Access-Control-Allow-Credentials" not in headers
    assert "Access-Control-Allow-Private-Network" not in headers
    assert headers["X-Request-Id"].startswith("req-")


def test_a_private_network_is_granted_where_it_is_asked_for(engine: FakeEngine) -> None:
    client = client_of(engine, PAGE)
    params = {"Access_Control_Request_Private_Network": "true"}
    granted = preflight(client, **params)
    assert granted.headers["Access-Control-Allow-Private-Network"] == "true"
    refused(preflight(client, origin=OTHER, **params), 403)


def asked_names(client: FlaskClient, names: str) -> TestResponse:
    return preflight(client, Access_Control_Request_Headers=names)


def test_header_names_are_given_back_only_if_they_are_names(engine: FakeEngine) -> None:
    client = client_of(engine, PAGE)
    for names, granted in (
        ("a", "a"),
        (" a ,,\tb-C_1 ,a", "a, b-C_1"),
        (",".join(f"x-{k}" for k in range(MAX_NAMES)), None),
    ):
        response = asked_names(client, names)
        assert response.status_code == 204
        found = response.headers["Access-Control-Allow-Headers"]
        assert found == (granted or names.replace(",", ", "))
    assert "Access-Control-Allow-Headers" not in asked_names(client, "").headers
    for names in ("a b", "a:b", "é", "a;b", '"a"', "*\x00"):
        response = asked_names(client, names)
        assert "must be names of headers, got" in refused(response)["message"]
        assert "Access-Control-Allow-Headers" not in response.headers
    for names in (
        ",".join(f"x-{k}" for k in range(MAX_NAMES + 1)),
        "a" * (MAX_NAMES_LENGTH + 1),
    ):
        response = asked_names(client, names)
        assert "at most 64 names and 2000 characters" in refused(response)["message"]
        assert "Access-Control-Allow-Headers" not in response.headers


def test_every_answer_is_for_the_listed_origin_and_no_other(engine: FakeEngine) -> None:
    def answers(headers: dict[str, str]) -> dict[int, TestResponse]:
        found = {}
        client = client_of(engine, PAGE, token="to-ken", characters_per_minute=100_000)
        with_token = headers | {"Authorization": "Bearer to-ken"}

        def post(body: object, status: int, path: str = "/v1/completions") -> None:
            found[status] = client.post(path, json=body, headers=with_token)

        post({"prompt": "a"}, 200)
        post({"n": 0}, 400)
        found[401] = client.get("/v1/models", headers=headers)
        post({}, 404, "/no_such")
        found[405] = client.get("/v1/score", headers=with_token)
        found[413] = client.post("/v1/score", data=b" " * (MAX_BODY + 1), headers=with_token,
                                 content_type="application/json")  # fmt: skip
        found[415] = client.post("/v1/score", data=b"{}", headers=with_token)
        engine.api_error = Busy("busy")
        post({}, 429)
        engine.api_error = None
        engine.failure = ZeroDivisionError()
        post({}, 500)
        engine.failure = None
        engine.api_error = Unavailable("died")
        post({}, 503)
        engine.api_error = None
        return found

    for status, response in answers({"Origin": PAGE, "Sec-Fetch-Site": "same-site"}).items():
        assert response.status_code == status
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert response.headers["Access-Control-Expose-Headers"] == "X-Request-Id, Retry-After"
        assert response.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in response.headers
    for headers in ({}, {"Origin": OTHER}):  # as programs send them
        for status, response in answers(headers).items():
            assert response.status_code == status
            assert not allowed_headers(response)
            assert response.headers["Vary"] == "Origin"
    for response in answers({"Origin": OTHER, "Sec-Fetch-Site": "cross-site"}).values():
        assert refused(response, 403)["code"] == "origin_not_allowed"
        assert not allowed_headers(response)


def test_a_stream_is_for_the_listed_origin(engine: FakeEngine) -> None:
    client = client_of(engine, PAGE)
    headers = {"Origin": PAGE, "Sec-Fetch-Site": "cross-site"}
    response = client.post("/v1/completions", json={"stream": True}, headers=headers)
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert response.headers["Access-Control-Expose-Headers"] == "X-Request-Id, Retry-After"
    assert len(events(response)) > 1


@pytest.mark.parametrize("near", ["http://localhost:3001", "https://localhost:3000",
                                  "http://localhost", "http://localhost:30000",
                                  "http://a.localhost:3000", "http://LOCALHOST:3000"])  # fmt: skip
def test_an_origin_that_only_resembles_a_listed_one_is_refused(
    engine: FakeEngine, near: str
) -> None:
    refused(preflight(client_of(engine, PAGE), origin=near), 403)


def test_any_origin_is_allowed_by_a_star_and_the_token_still_counts(engine: FakeEngine) -> None:
    client = client_of(engine, "*", token="to-ken")
    for origin in (PAGE, OTHER, "null"):
        response = preflight(client, origin=origin)
        assert response.status_code == 204
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Vary" not in response.headers  # every origin gets the same answer
        headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        without = client.get("/v1/models", headers=headers)
        assert refused(without, 401)["code"] == "invalid_api_key"
        with_token = headers | {"Authorization": "Bearer to-ken"}
        served = client.get("/v1/models", headers=with_token)
        assert served.status_code == 200
        for response in (without, served):
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            assert "Access-Control-Allow-Credentials" not in response.headers


def test_the_description_names_the_origins(engine: FakeEngine) -> None:
    for origins, said in (
        ((), "may not use it from a browser (CORS) until the server is started with --cors-origin"),
        (("https://b.example", PAGE), f"Web pages of {PAGE}, https://b.example may use it from"),
        (("*",), "Web pages of every origin may use it from a browser (CORS, --cors-origin)"),
    ):
        document = client_of(engine, *origins).get("/openapi.json").json
        assert said in document["info"]["description"]
        for item in document["paths"].values():
            for method in {"get", "post"} & {*item}:
                assert "403" in item[method]["responses"]


def test_an_app_refuses_what_is_no_origin(engine: FakeEngine) -> None:
    with pytest.raises(ConfigError, match=r"^'http://localhost/' is not an origin: browsers send"):
        create_app([engine], cors_origins=["http://localhost/"])


# On a port, and on the command line


def test_an_error_that_the_port_itself_sends_can_be_read_by_the_page(engine: FakeEngine) -> None:
    with serving(create_app([engine], cors_origins=[PAGE])) as port:
        for origin, allowed in ((PAGE, PAGE), (OTHER, None)):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            with closing(connection):
                headers = {"Origin": origin, "Content-Length": "99999999"}
                connection.request("POST", "/v1/completions", headers=headers)
                response = connection.getresponse()
                assert response.status == 413
                assert json.loads(response.read())["error"]["message"]
                assert response.getheader("Access-Control-Allow-Origin") == allowed
                assert response.getheader("Vary") == "Origin"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["http://localhost:3000/"], "'http://localhost:3000/' is not an origin: browsers send"),
        ([PAGE, "null"], "'null' is not an origin: browsers send null for files"),
        ([PAGE, "*"], "'*' allows every origin: leave out the others"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    from carousel.cli.main import run

    flags = [part for origin in arguments for part in ("--cors-origin", origin)]
    assert run(["serve", "story", *flags]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"carousel serve: --cors-origin: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("origins", "has_token", "said"),
    [
        ([], False, None),
        ([PAGE, "https://b.example"], False, f"web pages of {PAGE}, https://b.example may use it"),
        (["*"], True, "every web page that sends the token may use it"),
        (["*"], False, "warning: --cors-origin '*' lets every web page that your browser opens "
                       "use it; --token-file or CAROUSEL_TOKEN asks for a token"),
    ],
)  # fmt: skip
def test_the_command_says_which_pages_may_use_it(
    capsys: pytest.CaptureFixture[str], origins: list[str], has_token: bool, said: str | None
) -> None:
    from carousel.cli.serve import _announce_origins

    _announce_origins(origins, has_token=has_token)
    printed = " ".join(capsys.readouterr().err.split())
    assert printed == (said or "")


def test_the_help_says_how_a_page_of_another_origin_is_allowed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from carousel.cli.main import run

    with pytest.raises(SystemExit):
        run(["serve", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--cors-origin TEXT Let web pages of this origin, such as http://localhost" in shown
    assert "(CORS)" in shown
    assert "without a token all of them" in shown


@pytest.mark.serial
def test_the_flag_reaches_the_server() -> None:
    with command("story", "--cors-origin", PAGE, "--cors-origin", "https://b.example") as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
        with closing(connection):
            for origin, status in ((PAGE, 204), ("https://b.example", 204), (OTHER, 403)):
                headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
                connection.request("OPTIONS", "/v1/completions", headers=headers)
                response = connection.getresponse()
                response.read()
                assert response.status == status
        assert any(f"web pages of {PAGE}, https://b.example may use it" in x for x in running.lines)
