"""A real browser on another origin: its page may use the API where it is listed, and only there."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from carousel.server.app import create_app
from server.fake_engine import FakeEngine, drawn
from server.running import serving
from server.test_page import CHROMIUM, needs_chromium

pytestmark = needs_chromium

# As the official client for JavaScript asks: JSON, a token, headers of its own; read as it comes.
ASK = """async ([url, body, token]) => {
  const headers = {"Content-Type": "application/json", "X-Stainless-Lang": "js"};
  if (token) headers["Authorization"] = "Bearer " + token;
  try {
    const options = {method: "POST", headers, body: JSON.stringify(body)};
    const response = await fetch(url + "v1/completions", options);
    const id = response.headers.get("X-Request-Id");
    return {status: response.status, id, text: await response.text()};
  } catch (error) {
    return {error: error.name};
  }
}"""
SIMPLE = """async (url) => {
  const answers = [];
  for (const [path, options] of [
    ["v1/models", {}],
    ["v1/completions", {method: "POST", body: '{"prompt": "ab"}'}],
    ["v1/completions", {method: "POST", body: '{"prompt": "ab"}', mode: "no-cors"}],
  ]) {
    try {
      const response = await fetch(url + path, options);
      answers.push(response.type + " " + await response.text());
    } catch (error) {
      answers.push(error.name);
    }
  }
  return answers;
}"""
BODY = {"prompt": "ab", "max_tokens": 20, "seed": 1, "stream": True}


class Elsewhere(BaseHTTPRequestHandler):
    """A site of somebody else: one empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def elsewhere() -> Iterator[str]:
    """Serve the other site and yield its origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with elsewhere() as origin:
        yield origin


@pytest.fixture
def page(browser: Browser, origin: str) -> Iterator[Page]:
    page = browser.new_page()
    page.goto(origin)
    yield page
    page.close()


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.mark.parametrize("is_star", [False, True])
def test_a_listed_page_streams_a_text_and_reads_errors(
    page: Page, origin: str, engine: FakeEngine, is_star: bool
) -> None:
    app = create_app([engine], token="to-ken", cors_origins=["*" if is_star else origin])
    with serving(app) as port:
        url = f"http://127.0.0.1:{port}/"
        answer = page.evaluate(ASK, [url, BODY, "to-ken"])
        assert answer["status"] == 200
        assert answer["id"].startswith("req-")
        assert answer["text"].endswith("data: [DONE]\n\n")
        assert len(engine.jobs) == 1
        for body, token, status in ((BODY, "wrong", 401), ({"n": 0}, "to-ken", 400)):
            answer = page.evaluate(ASK, [url, body, token])
            assert answer["status"] == status
            assert '"error"' in answer["text"]
    assert len(engine.jobs) == 1


@pytest.mark.parametrize("origins", [[], ["http://localhost:3000"]])
def test_a_page_that_is_not_listed_reads_nothing_and_has_nothing_written(
    page: Page, engine: FakeEngine, origins: list[str]
) -> None:
    with serving(create_app([engine], cors_origins=origins)) as port:
        url = f"http://127.0.0.1:{port}/"
        assert page.evaluate(ASK, [url, BODY, None]) == {"error": "TypeError"}
        # without a preflight: what a page may send at once is not read as JSON, nor shown to it
        assert page.evaluate(SIMPLE, url) == ["TypeError", "TypeError", "TypeError"]
    assert engine.jobs == []


def test_a_page_in_a_sandbox_is_not_listed(browser: Browser, engine: FakeEngine) -> None:
    """Its origin is null, whichever site put it there."""
    with elsewhere() as origin, serving(create_app([engine], cors_origins=[origin])) as port:
        page = browser.new_page()
        page.goto(origin)
        page.set_content("<iframe sandbox='allow-scripts' srcdoc='<p>frame</p>'></iframe>")
        page.wait_for_selector("iframe")
        frame = page.frames[1]
        frame.wait_for_selector("p")
        assert frame.evaluate("self.origin") == "null"
        url = f"http://127.0.0.1:{port}/"
        assert frame.evaluate(ASK, [url, BODY, None]) == {"error": "TypeError"}
        page.close()
    assert engine.jobs == []


def test_the_page_of_the_server_itself_needs_no_permission(
    browser: Browser, engine: FakeEngine
) -> None:
    with serving(create_app([engine])) as port:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        answer = page.evaluate(ASK, [f"http://127.0.0.1:{port}/", BODY, None])
        assert answer["status"] == 200
        page.close()
    assert [drawn(job) for job in engine.jobs]
