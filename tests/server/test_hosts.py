"""The Host header: a page whose name was rebound to this machine gets nothing."""

import http.client
import json
import socket
from contextlib import closing

import pytest
from flask.testing import FlaskClient

from carousel.cli.serve import main
from carousel.errors import ConfigError, UsageError
from carousel.server.app import create_app
from carousel.server.hosts import Hosts, host_of
from server.answers import refused
from server.client import JSON
from server.fake_engine import FakeEngine
from server.running import serving

LOCAL = ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", "localhost.", "[0:0:0:0:0:0:0:1]"]
PATHS = ["/", "/static/page.js", "/v1/models", "/health/live", "/health/ready", "/metrics", "/no"]
FOREIGN = ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.7", "[::2]"]
JUNK = [
    *("", " ", ":", ":5000", "a b", "a,b", "localhost, localhost", "localhost,evil.example"),
    *("localhost:x", "localhost:123456", "user@localhost", "http://localhost", "localhost/"),
    *(
        "[::1",
        "::1",
        "[127.0.0.1]",
        "a..b",
        ".",
        "-a",
        "1.2.3",
        "999.0.0.1",
        "\xff",
        "a" * 300,
        "a" * 9000,
    ),
]


def client_of(**settings: object) -> FlaskClient:
    return create_app([FakeEngine()], **settings).test_client()


def ask(client: FlaskClient, host: str | None, path: str = "/v1/models", **environ: str):
    return client.get(path, environ_overrides={"HTTP_HOST": host, **environ})


@pytest.mark.parametrize("port", ["", ":5000", ":1", ":"])
@pytest.mark.parametrize("host", LOCAL)
def test_a_loopback_server_answers_to_its_three_names_with_any_port(host: str, port: str) -> None:
    assert ask(client_of(), host + port).status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", FOREIGN)
def test_another_host_gets_nothing_but_421(host: str, path: str) -> None:
    error = refused(ask(client_of(), host + ":5000", path), 421)
    assert error["code"] == "host_not_allowed"
    assert f"--allowed-host {host}" in error["message"]


def test_a_rebound_page_can_write_no_text() -> None:
    engine = FakeEngine()
    client = create_app([engine]).test_client()
    for headers in ({}, {"Origin": "http://evil.example"}):
        response = client.post(
            "/v1/completions",
            json={"prompt": "a"},
            headers=headers,
            environ_overrides={"HTTP_HOST": "evil.example"},
        )
        refused(response, 421)
    params = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    refused(
        client.options(
            "/v1/completions", headers=params, environ_overrides={"HTTP_HOST": "evil.example"}
        ),
        421,
    )
    assert engine.jobs == []


@pytest.mark.parametrize("host", JUNK)
def test_junk_in_the_host_header_is_400(host: str) -> None:
    assert refused(ask(client_of(), host), 400)["code"] == "invalid_host"


@pytest.mark.parametrize(
    ("path", "protocol", "status"),
    [
        ("/health/live", "HTTP/1.0", 200),
        ("/health/ready", "HTTP/1.0", 200),
        ("/health/live", "HTTP/1.1", 400),
        ("/v1/models", "HTTP/1.0", 400),
        ("/", "HTTP/1.0", 400),
    ],
)
def test_only_health_answers_without_a_host(path: str, protocol: str, status: int) -> None:
    request = f"GET {path} {protocol}\r\n\r\n".encode()
    with serving(create_app([FakeEngine()])) as port:
        assert answered(port, request)[0] == status


def answered(port: int, request: bytes) -> tuple[int, bytes]:
    """Return the status and the body of the answer to these bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.read()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Host: localhost\r\nHost: localhost\r\n", 400),
        (b"Host: localhost\r\nhost: evil.example\r\n", 400),
        (b"Host: evil.example\r\n", 421),
        (b"Host: localhost:80\r\n", 200),
        (b"Host : localhost\r\n", 400),
        (b"Host:\r\n localhost\r\n", 400),
    ],
)
def test_hosts_over_the_wire(head: bytes, status: int) -> None:
    with serving(create_app([FakeEngine()])) as port:
        found, body = answered(port, b"GET /v1/models HTTP/1.1\r\n" + head + b"\r\n")
        assert found == status
        assert status == 200 or list(json.loads(body)) == ["error"]
        # The target counts where it names a host (RFC 9112, 3.2.2).
        for target, expected in ((b"evil.example", 421), (b"localhost", 200), (b"[x", 400)):
            request = b"GET http://%s/v1/models HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, target)
            assert answered(port, request)[0] == expected
        # A proxy may go by the one, and we by the other.
        for target, other in ((b"evil.example", b"localhost"), (b"localhost", b"evil.example")):
            request = b"GET http://%s/v1/models HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, other)
            assert answered(port, request)[0] == 400


def test_allowed_hosts_are_answered_beside_the_local_ones() -> None:
    client = client_of(allowed_hosts=["Models.Example.org", "other"])
    for host in ("models.example.org", "MODELS.example.org:443", "other", "localhost:5000"):
        assert ask(client, host).status_code == 200
    refused(ask(client, "example.org"), 421)
    everything = client_of(allowed_hosts=["*"])
    assert ask(everything, "evil.example").status_code == 200
    refused(ask(everything, "a b"), 400)


@pytest.mark.parametrize(
    ("host", "settings", "answers", "refuses"),
    [
        ("127.0.0.5", {}, ["127.0.0.5", "localhost"], ["127.0.0.6", "evil.example"]),
        ("::1", {}, ["[::1]", "localhost"], ["[::2]"]),
        ("localhost", {}, ["127.0.0.1"], ["192.0.2.7"]),
        ("0.0.0.0", {}, ["192.0.2.7", "[2001:db8::1]", "localhost"], ["evil.example"]),
        ("::", {}, ["192.0.2.7", "[2001:db8::1]"], ["evil.example"]),
        ("box.lan", {}, ["box.lan", "BOX.lan.", "192.0.2.7"], ["evil.example"]),
        ("0.0.0.0", {"has_token": True}, ["evil.example", "192.0.2.7"], []),
        ("127.0.0.1", {"has_token": True}, ["localhost"], ["evil.example", "192.0.2.7"]),
        ("0.0.0.0", {"has_token": True, "names": ["a.b"]}, ["a.b", "192.0.2.7"], ["c.d"]),
    ],
)
def test_the_default_follows_from_the_address_and_the_token(
    host: str, settings: dict, answers: list[str], refuses: list[str]
) -> None:
    hosts = Hosts(host, **settings)
    assert [host_of(each) in hosts for each in answers] == [True] * len(answers)
    assert [host_of(each) in hosts for each in refuses] == [False] * len(refuses)


@pytest.mark.parametrize(
    "name", ["", "http://a", "a:80", "a/b", "a b", "*.example.org", "[::1", "::g", "1.2.3", "é.org"]
)
def test_a_name_that_no_host_has_is_refused_with_what_would_work(name: str) -> None:
    with pytest.raises(ConfigError, match=r"a name or an address without scheme and port"):
        create_app([FakeEngine()], allowed_hosts=[name])
    with pytest.raises(UsageError, match=r"^--allowed-host: "):
        main(["story", f"--allowed-host={name}"])


def test_all_hosts_and_one_host_is_a_contradiction() -> None:
    with pytest.raises(UsageError, match="allows every host"):
        main(["story", "--allowed-host", "*", "--allowed-host", "a"])


def test_the_flag_is_said_where_it_is_looked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--allowed-host" in capsys.readouterr().out
    description = client_of(allowed_hosts=["a.b"]).get("/openapi.json").json
    assert "--allowed-host NAME" in description["info"]["description"]
    assert "127.0.0.1, [::1], localhost, a.b" in description["info"]["description"]
    for path in description["paths"].values():
        for operation in ("get", "post"):
            if operation in path:
                assert "421" in path[operation]["responses"]


def test_a_program_behind_the_name_of_a_proxy_is_served() -> None:
    app = create_app([FakeEngine()], allowed_hosts=["models.example.org"])
    with serving(app) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with closing(connection):
            headers = {"Host": "models.example.org", **JSON}
            connection.request("POST", "/v1/completions", '{"prompt": "a"}', headers)
            assert connection.getresponse().status == 200
