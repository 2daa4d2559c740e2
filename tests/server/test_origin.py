"""Origins of web pages: the spelling that browsers send is accepted, all others are explained."""

import pytest

from carousel.errors import ConfigError
from carousel.server.origin import check_origins, is_origin

ORIGINS = (
    *("http://localhost", "http://localhost:3000", "https://example.org", "http://127.0.0.1:8080"),
    *("http://[::1]", "http://[::1]:3000", "https://xn--bcher-kva.de", "http://a_b.local:1"),
    *("https://example.org:65535", "http://example.org:443", "https://example.org:80"),
    *("chrome-extension://abcdefghijklmnop", "app://obsidian.md", "tauri://localhost"),
)


@pytest.mark.parametrize("origin", ORIGINS)
def test_an_origin_is_accepted_as_it_is(origin: str) -> None:
    assert check_origins([origin]) == {origin}
    assert is_origin(origin)


def test_all_origins_together_and_any_alone_are_accepted() -> None:
    assert check_origins([*ORIGINS, ORIGINS[0]]) == {*ORIGINS}
    assert check_origins([]) == frozenset()
    assert check_origins(["*"]) == {"*"}


WRONG = {
    "http://localhost:3000/": "browsers send http://localhost:3000; use that",
    "http://localhost:3000/page?x#y": "browsers send http://localhost:3000; use that",
    "http://localhost?x": "browsers send http://localhost; use that",
    "localhost:3000": "browsers send http://localhost:3000; use that",
    "example.org": "browsers send http://example.org; use that",
    "HTTP://LocalHost:3000": "browsers send http://localhost:3000; use that",
    "http://localhost:80": "browsers send http://localhost; use that",
    "https://example.org:443": "browsers send https://example.org; use that",
    "http://localhost:03000": "browsers send http://localhost:3000; use that",
    "https://bücher.de": "browsers send https://xn--bcher-kva.de; use that",
    "http://[0:0::1]:3000": "browsers send http://[::1]:3000; use that",
    "null": "browsers send null for files and for sandboxed frames of any site",
    "file:///page.html": "browsers send null for files and for sandboxed frames of any site",
    "http://*.example.org": "patterns are not supported; list each origin, or '*' alone for all",
    "http://localhost:*": "patterns are not supported; list each origin, or '*' alone for all",
    "": "it must be scheme://host or scheme://host:port, such as http://localhost:3000",
    "http://": "it must be scheme://host",
    "http:///a": "it must be scheme://host",
    "://localhost": "it must be scheme://host",
    "http://localhost:0": "it must be scheme://host",
    "http://localhost:65536": "it must be scheme://host",
    "http://localhost:port": "it must be scheme://host",
    "http://user@localhost": "it must be scheme://host",
    "http://[::1": "it must be scheme://host",
    "http://[::z]": "it must be scheme://host",
    "http://127.1": "it must be scheme://host",
    "http://1.2.3.999": "it must be scheme://host",
    "http://a..b": "it must be scheme://host",
    "http://a b": "it must be scheme://host",
    "http://a\r\nSet-Cookie: b": "it must be scheme://host",
    "http://localhost\n": "it must be scheme://host",
    "http://a,http://b": "it must be scheme://host",
    " http://localhost": "it must be scheme://host",
}


@pytest.mark.parametrize(("origin", "reason"), WRONG.items(), ids=map(repr, WRONG))
def test_what_is_no_origin_is_explained_in_one_line(origin: str, reason: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_origins(["http://localhost", origin])
    assert str(error.value).startswith(f"{origin!r} is not an origin: {reason}")
    assert str(error.value).isprintable()
    assert not is_origin(origin)


def test_any_origin_stands_alone() -> None:
    with pytest.raises(ConfigError, match=r"^'\*' allows every origin: leave out the others"):
        check_origins(["*", "http://localhost"])
