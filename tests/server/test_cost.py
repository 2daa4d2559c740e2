"""What a request costs before it is admitted or refused: little, whatever it holds.

The front answers all clients by one interpreter. What one request costs there, all others wait.
"""

import json
import time
from collections.abc import Callable

import pytest
from waitress.adjustments import Adjustments

from carousel.server.app import create_app
from carousel.server.http_parser import MAX_HEADER, MAX_LINE, RequestParser
from carousel.server.request import MAX_BODY
from server.fake_engine import FakeEngine


def slowness() -> float:
    """Return how many times as long as on a core of 2.8 GHz (Ice Lake) a fixed work takes; or 1."""
    took = []
    for _ in range(9):
        began = time.thread_time()
        sum(k * k % 7 for k in range(50_000))
        took.append(time.thread_time() - began)
    return max(1, min(took) / 0.0029)


BOUND = 0.02 * slowness()  # seconds of the processor
CLIENT = create_app([FakeEngine()], cors_origins=["http://localhost:3000"]).test_client()


def cost(work: Callable[[], object]) -> float:
    """Return the seconds of this thread that it takes, the least of some trials."""
    found = []
    for _ in range(7):
        began = time.thread_time()
        work()
        found.append(time.thread_time() - began)
        if found[-1] <= BOUND:
            break
    return min(found)


def filled(begin: str, each: str, end: str = "") -> bytes:
    """Return a body of about MAX_BODY bytes: so many of each as go between begin and end."""
    number = (MAX_BODY - len((begin + end).encode())) // len(each.encode())
    return (begin + each * number + end).encode()


def of_names(count: int, name: str = '"{}":0') -> bytes:
    return ("{" + ",".join(name.format(k) for k in range(count)) + "}").encode()[:MAX_BODY]


BODIES = {
    "different names, the last one twice": b'{%s,"5999":0}' % of_names(6000)[1:-1],
    "different names": of_names(6000),
    "one name": filled("{", '"":0,', '"":0}'),
    "long names": filled("{", '"' + "a" * 1000 + '":0,', '"":0}'),
    "one long name": filled('{"', "a", '":0}'),
    "an escaped name": filled('{"', r"\u0000", '":0}'),
    "open lists": filled("", "["),
    "open objects": filled("", '{"":'),
    "lists in a list": filled("[", "[],", "[]]"),
    "deep lists, again and again": filled("[", "[" * 499 + "]" * 499 + ",", "0]"),
    "brackets in a string": filled('{"prompt": "', "[{", '"}'),
    "quotation marks": filled("", '"'),
    "escaped quotation marks": filled('"', r"\"", '"'),
    "backslashes without an end": filled('"', "\\"),
    "brackets and quotation marks": filled("", '["'),
    "brackets, then a string without an end": filled("[" * 600 + '"', r"\\"),
    "spaces": filled("", " ", "1"),
    "line feeds before a mistake": filled("", "\n", "?"),
    "a mistake at the end": filled("[", "1,", "?]"),
    "digits": filled('{"n":', "9", "}"),
    "many numbers of many digits": filled("[", "9" * 1000 + ",", "0]"),
    "digits behind a point": filled('{"n":0.', "9", "}"),
    "digits before a point": filled('{"n":', "9", ".5}"),
    "digits of an exponent": filled('{"n":1e', "9", "}"),
    "many long floats": filled("[", "0." + "1" * 700 + "e-300,", "0]"),
    "surrogates": filled('{"prompt":"', r"\ud800", '"}'),
    "pairs of surrogates": filled('{"prompt":"', r"\ud83d\ude00", '"}'),
    "surrogates in the wrong order": filled('{"prompt":"', r"\ude00\ud83d", '"}'),
    "control characters": filled('{"prompt":"', r"\u001b", '"}'),
    "not UTF-8": b'{"prompt":"' + b"a" * (MAX_BODY - 100) + b'\xff"}',
    "characters of four bytes": filled('{"prompt":"', "\U0001f600", '"}'),
    "many stop strings": filled('{"stop":[', '"a",', '"a"]}'),
    "long stop strings": filled('{"stop":[', '"' + "a" * 99 + 'b",', '"a"]}'),
    "many prompts": filled('{"prompt":[', '"a",', '"a"]}'),
    "a long model": filled('{"model":"', "a", '"}'),
    "a long user": filled('{"user":"', "a", '"}'),
    "logit_bias": b'{"logit_bias":%s}' % of_names(5000),
    "many unknown fields": of_names(6000, '"x{}":1'),
    "unknown fields that are null": of_names(4000, '"x{}":null'),
    "sixteen whole prompts": filled('{"prompt":["', "a" * 3900 + '","', 'a"]}'),
    "a last character that is unknown": filled('{"prompt":["', "a" * 3900 + '","', '€"]}'),
    "no field": filled('{"stream_options":', "[", ""),
}  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/score"])
@pytest.mark.parametrize("kind", BODIES)
def test_no_body_of_64_kib_takes_more_than_20_ms_to_refuse(kind: str, path: str) -> None:
    """Parsing and checking; a text of zero characters is begun where nothing is wrong."""
    data = BODIES[kind][:MAX_BODY]

    def send() -> None:
        with CLIENT.post(path, data=data, content_type="application/json") as response:
            assert response.status_code in (200, 400, 404)

    assert cost(send) <= BOUND


def test_the_bodies_are_of_full_length() -> None:
    assert len(BODIES) > 40
    assert all(len(body) > 0.5 * MAX_BODY for body in BODIES.values())


LONG = MAX_HEADER - 500
HEADS = {
    "spaces before a value": b"x:" + b" " * LONG + b"a",
    "spaces before a control character": b"x:" + b" " * LONG + b"\x01",
    "spaces in a value": b"x: a" + b" " * LONG + b"\x01",
    "spaces and letters": b"x: " + b"a " * (LONG // 2) + b"\x01",
    "spaces behind a value": b"x: a" + b" " * LONG,
    "one header again and again": b"x:\r\n" * (LONG // 4) + b"x:",
    "a long header again and again": (b"x:" + b"a" * 400 + b"\r\n") * (LONG // 404) + b"x:",
    "many headers": b"\r\n".join(b"x%d: 1" % k for k in range(1500)),
    "a long name": b"x" * LONG + b": 1",
    "no colon": b"x" * LONG,
    "folded lines": b"x: 1\r\n" + b" 1\r\n" * (LONG // 4) + b" 1",
    "a long length": b"Content-Length: " + b"9" * LONG,
    "many lengths": b"Content-Length: 1\r\n" * (LONG // 19) + b"x: 1",
    "many hosts": b"Host: a\r\n" * (LONG // 9) + b"x: 1",
    "codings": b"Transfer-Encoding: " + b"chunked," * (LONG // 8) + b"chunked",
    "a list of connections": b"Connection: " + b"close, " * (LONG // 7),
    "a type's parameters": b"Content-Type: application/json" + b"; a=b" * (LONG // 5),
    "a type's quotation marks": b"Content-Type: application/json; a=" + b'"\\' * (LONG // 2),
    "a type's semicolons": b"Content-Type: application/json" + b";" * LONG,
    "a type's spaces": b"Content-Type: application/json;" + b" " * LONG + b"a",
    "a type's stars": b"Content-Type: application/json" + b"; a*0*=b" * (LONG // 9),
    "a type's percents": b"Content-Type: application/json; a*=utf-8''" + b"%41" * (LONG // 3),
    "a host": b"Host: " + b"a." * (LONG // 2),
    "a host of brackets": b"Host: [" + b":" * LONG,
    "an origin": b"Sec-Fetch-Site: cross-site\r\nOrigin: http://" + b"a." * (LONG // 2),
    "an origin of letters": b"Sec-Fetch-Site: cross-site\r\nOrigin: " + b"a" * LONG,
    "an origin not of ASCII": b"Sec-Fetch-Site: cross-site\r\nOrigin: http://" + b"\xe9" * LONG,
    "an origin of digits": b"Sec-Fetch-Site: cross-site\r\nOrigin: http://a:" + b"1" * LONG,
    "an origin of dots": b"Sec-Fetch-Site: cross-site\r\nOrigin: http://" + b"." * LONG,
    "a preflight": b"Origin: http://localhost:3000\r\nAccess-Control-Request-Method: POST\r\n"
    b"Access-Control-Request-Headers: " + b"a," * (LONG // 2),
    "a token": b"Authorization: Bearer " + b"a" * LONG,
    "cookies": b"Cookie: " + b"a=b; " * (LONG // 5),
    "languages": b"Accept-Language: " + b"a;q=0.1, " * (LONG // 9),
}  # fmt: skip
LINE = MAX_LINE - 40
LINES = {
    "digits of a target": b"GET a://" + b"1" * LINE + b" x",
    "digits of a target's path": b"GET a://1/" + b"1" * LINE + b" x",
    "a target of colons": b"GET " + b":" * LINE + b" HTTP/1.1",
    "a target of schemes": b"GET " + b"a://" * (LINE // 4) + b" HTTP/1.1",
    "slashes": b"GET " + b"/" * LINE + b" HTTP/1.1",
    "slashes in a path": b"GET /" + b"a/" * (LINE // 2) + b" HTTP/1.1",
    "dots": b"GET /static/" + b"../" * (LINE // 3) + b" HTTP/1.1",
    "percents": b"GET /" + b"%41" * (LINE // 3) + b" HTTP/1.1",
    "percents without digits": b"GET /" + b"%" * LINE + b" HTTP/1.1",
    "a model's name": b"GET /v1/models/" + b"%2f" * (LINE // 3) + b" HTTP/1.1",
    "bytes that are no UTF-8": b"GET /v1/models/" + b"%ff" * (LINE // 3) + b" HTTP/1.1",
    "a query": b"GET /?" + b"a=b&" * (LINE // 4) + b" HTTP/1.1",
    "a fragment": b"GET /#" + b"#" * LINE + b" HTTP/1.1",
    "spaces in the request line": b"GET" + b" " * LINE + b"/ HTTP/1.1",
    "a method": b"G" * LINE + b" / HTTP/1.1",
    "a version": b"GET / HTTP/1." + b"1" * LINE,
}


def parsed(data: bytes, size: int = 8192) -> RequestParser:
    """Return what is read of these bytes, in pieces of a size."""
    limits = {"max_request_header_size": MAX_HEADER, "max_request_body_size": 1 << 20}
    parser = RequestParser(Adjustments(**limits))
    for place in range(0, len(data), size):
        parser.received(data[place : place + size])
    return parser


def served(parser: RequestParser, method: str) -> None:
    """Let the app answer what was read, as waitress hands it over."""
    if parser.error:
        return
    environ = {f"HTTP_{name}": value for name, value in parser.headers.items()}
    environ |= {"REQUEST_METHOD": method, "PATH_INFO": parser.path, "QUERY_STRING": parser.query}
    environ |= {"CONTENT_TYPE": parser.headers.get("CONTENT_TYPE", ""), "CONTENT_LENGTH": "0"}
    with CLIENT.open(method=method, environ_overrides=environ) as response:
        assert response.status_code < 500


@pytest.mark.parametrize("kind", HEADS)
def test_no_head_takes_more_than_20_ms(kind: str) -> None:
    method = "OPTIONS" if "preflight" in kind else "POST"
    host = b"" if b"Host:" in HEADS[kind] else b"Host: localhost\r\n"
    line = f"{method} /v1/completions HTTP/1.1\r\n".encode()
    data = line + host + HEADS[kind] + b"\r\n\r\n"
    assert len(data) < MAX_HEADER
    assert cost(lambda: served(parsed(data), method)) <= BOUND


@pytest.mark.parametrize("kind", LINES)
def test_no_request_line_takes_more_than_20_ms(kind: str) -> None:
    assert len(LINES[kind]) <= MAX_LINE
    data = LINES[kind] + b"\r\nHost: localhost\r\n\r\n"
    assert cost(lambda: served(parsed(data), "GET")) <= BOUND


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = {
    "one byte each": b"1\r\na\r\n" * 10_000 + b"0\r\n\r\n",
    "an extension": b"1;" + b"a=b;" * 15_000,
    "an extension's quotation marks": b'1;a="' + b"\\" * 60_000,
    "a size": b"0" * 60_000,
    "a trailer": b"0\r\n" + b"a" * 60_000,
    "many trailers": b"0\r\n" + b"a:\r\n" * 15_000,
    "line feeds": b"\n" * 60_000,
    "too much": b"fffff\r\n" + b"a" * 300_000,
}  # fmt: skip


@pytest.mark.parametrize("kind", CHUNKS)
def test_no_64_kib_of_chunks_take_more_than_40_ms(kind: str) -> None:
    """Twice the bound of a body: framing takes six bytes for one that it holds."""
    assert cost(lambda: parsed(CHUNKED + CHUNKS[kind])) <= 2 * BOUND


def test_single_bytes_cost_no_more_than_their_number() -> None:
    """Each byte in a packet of its own; the sum may be no larger than that of so many packets."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"a" * (MAX_HEADER // 2)
    assert cost(lambda: parsed(head, size=1)) <= 10 * BOUND
    assert cost(lambda: parsed(CHUNKED + b"0;" + b"a" * 8000, size=1)) <= 10 * BOUND


def test_an_error_quotes_little_of_what_was_sent() -> None:
    for kind, body in BODIES.items():
        response = CLIENT.post("/v1/completions", data=body, content_type="application/json")
        if response.status_code != 200:
            assert len(json.loads(response.data)["error"]["message"]) < 800, kind
