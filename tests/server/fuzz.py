"""Requests that nobody should send."""

import json
import random

VALUES = [
    *(None, True, False, 0, 1, -1, 5, 0.5, -0.0, 1e308, 10**400, 2**63, 2**53, 1e-320),
    *("", "a", "ab", "\x00", "\ud800", "é" * 50, "a" * 4001, "\u202e", "null"),
    *([], {}, [[]], ["a"], ["a", 1], [None], {"include_usage": True}, {"a": {}}, [""] * 20),
]
FIELDS = (
    *("model", "prompt", "max_tokens", "temperature", "top_p", "n", "stream", "stream_options"),
    *("logprobs", "echo", "stop", "seed", "top_k", "min_p", "repetition_penalty", "user", "suffix"),
    *("repetition_window", "best_of", "logit_bias", "text", "alternatives", "", "no such", "\x00"),
    *("candidates", "store", "tools", "response_format", "mirostat_tau", "skip_special_tokens"),
)
PATHS = (*["/v1/completions"] * 8, *["/v1/score"] * 4, "/v1/models/x", "/", "/%00", "/v1")
METHODS = (*["POST"] * 12, "GET", "PUT", "DELETE", "OPTIONS", "HEAD")
ORIGINS = ("http://localhost:3000", "null", "", "a b", "*", "http://" + "a" * 3000)
HEADERS = (
    *(("Host", host) for host in ("localhost", "evil.example", "a b", "", "[::1]:80", "a" * 5000)),
    *(("Content-Length", length) for length in ("5", "-1", "+5", "1_0", "9" * 5000, "")),
    *(("Transfer-Encoding", coding) for coding in ("chunked", "gzip", "chunked, gzip", "")),
    *(("Content_Length", "5"), ("Content-Length ", "5"), ("x", " " * 9000 + "a"), ("Expect", "a")),
    *(("Connection", "close"), ("Cookie", "a=b; " * 500), ("Authorization", "Bearer " + "a" * 999)),
    *(("Accept-Language", "\xff\x85"), ("X-Forwarded-Host", "evil.example"), ("Upgrade", "h2c")),
)
LINE_ENDS = (*["\r\n"] * 150, "\n", "\r", "\r\n ", "\n\n", "\x00\r\n")
TARGETS = (
    *(*PATHS, *PATHS),
    "/" * 3000,
    "/%",
    "http://[",
    "http://evil.example/",
    "*",
    "//a",
    "/?" + "a&" * 999,
)
VERSIONS = (*["HTTP/1.1"] * 40, "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "", "http/1.1")
BEGINS = (*[""] * 30, "\r\n", "\r\n" * 9, "\n", " ", "\x16\x03\x01")
TYPES = (*["application/json"] * 12, "text/plain", "", "a/b; c=d")


def request(chooser: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
    """Return method, path, body and headers."""
    headers = {"Content-Type": chooser.choice(TYPES).encode("ascii", "ignore").decode()}
    if chooser.random() < 0.1:
        headers["Origin"] = chooser.choice(ORIGINS)
        headers["Access-Control-Request-Method"] = chooser.choice(METHODS)
    return chooser.choice(METHODS), chooser.choice(PATHS), body(chooser), headers


def raw(chooser: random.Random) -> bytes:
    """Return bytes that are one request, none, or several, by who reads them."""
    data = body(chooser)
    headers = [("Host", "localhost"), ("Content-Type", "application/json")]
    headers += chooser.choices(HEADERS, k=chooser.choice([0, 0, 0, 1, 1, 2]))
    if chooser.random() < 0.9:
        headers.append(("Content-Length", str(len(data))))
    chooser.shuffle(headers)
    method, target = chooser.choice(METHODS), chooser.choice(TARGETS)
    lines = [f"{method} {target} {chooser.choice(VERSIONS)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    head = chooser.choice(BEGINS) + "".join(line + chooser.choice(LINE_ENDS) for line in lines)
    whole = bytearray(head.encode("latin-1") + b"\r\n" + data)
    if chooser.random() < 0.1:
        place = chooser.randrange(len(whole))
        whole[place : place + chooser.randrange(3)] = chooser.randbytes(chooser.randrange(4))
    return bytes(whole)


def body(chooser: random.Random) -> bytes:
    """Return what may be no JSON at all, or a request with a few odd fields."""
    kind = chooser.random()
    if kind < 0.1:
        return chooser.randbytes(chooser.randrange(200))
    if kind < 0.2:
        odd = (
            '{"prompt": NaN}',
            "[" * 5000,
            '{"n": 1, "n": 2}',
            "{",
            "Infinity",
            '"',
            " " * 70_000,
        )
        return chooser.choice(odd).encode()
    names = chooser.choices(FIELDS, k=chooser.randrange(4))
    fields = {"prompt": "a", "max_tokens": 3} | {name: chooser.choice(VALUES) for name in names}
    if chooser.random() < 0.3:
        del fields["prompt"]
    whole = json.dumps(fields).encode()
    return whole[: chooser.randrange(len(whole))] if chooser.random() < 0.1 else whole
