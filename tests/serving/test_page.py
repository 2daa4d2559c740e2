"""The page in a real browser: a prompt in, a story out, mistakes as text, all of it from here."""

import re
import shutil

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from carousel.sampling.config import SamplingConfig
from carousel.sampling.generate import continue_text
from carousel.serving.app import create_app
from carousel.text.vocabulary import Vocabulary
from sampling.markov import Markov
from serving.running import Slow, serving

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

VOCABULARY = Vocabulary.from_text("\nOnce upon a time <b>/é")
MODEL = Slow(len(VOCABULARY), seconds=0.002)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address():
    with serving(create_app(MODEL, VOCABULARY, name="small")) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture
def page(browser, address):
    """The page, opened; what it complains of or asks for elsewhere fails the test."""
    page = browser.new_page()
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(address)
    yield page
    assert requests
    assert [url for url in requests if not url.startswith(address)] == []
    assert [text for text in complaints if "status of 400" not in text] == []
    page.close()


def story(prompt: str, length: int, **settings: float) -> str:
    config = SamplingConfig(**settings)
    return "".join(
        continue_text(Markov(len(VOCABULARY)), VOCABULARY, prompt, config, length=length)
    )


def fill(page: Page, **fields: object) -> None:
    for name, value in fields.items():
        page.fill(f"#{name}", str(value))


@needs_chromium
def test_a_story_is_told_as_it_is_written(page: Page) -> None:
    fill(page, prompt="<b>Once</b>", length=400, seed=5, top_k=9, temperature=1.5)
    fill(page, repetition_penalty=1.2)
    page.click("#tell")
    expect(page.locator("#story")).to_have_attribute("aria-busy", "true")
    expect(page.locator("#text")).to_have_text(re.compile(r"[\s\S]"))
    assert len(page.text_content("#text")) < 400
    expect(page.locator("#status")).to_have_text("Told: 400 characters, seed 5.")
    assert page.text_content("#told") == "<b>Once</b>"  # as text, not as markup
    assert page.text_content("#text") == story(
        "<b>Once</b>", 400, seed=5, top_k=9, temperature=1.5, repetition_penalty=1.2
    )
    assert page.locator("#story b").count() == 0
    expect(page.locator("#story")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#stop")).to_be_disabled()


@needs_chromium
def test_without_a_seed_each_story_is_another_and_names_its_own(page: Page) -> None:
    fill(page, length=60)
    stories = []
    status = page.locator("#status")
    for _ in range(2):
        before = status.text_content()
        page.click("#tell")
        expect(status).not_to_have_text(before)  # else that of the story before might be read
        expect(status).to_have_text(re.compile(r"Told: 60 characters, seed \d+\."))
        seed = int(re.findall(r"\d+", status.text_content())[-1])
        stories.append(page.text_content("#text"))
        assert stories[-1] == story("Once upon a time", 60, seed=seed)
    assert stories[0] != stories[1]


@needs_chromium
def test_keys_tell_and_stop(page: Page) -> None:
    fill(page, length=4000)
    page.press("#prompt", "Control+Enter")
    expect(page.locator("#text")).to_have_text(re.compile(r"[\s\S]{20}"))
    page.keyboard.press("Escape")
    expect(page.locator("#status")).to_have_text(re.compile(r"Stopped: \d+ characters"))
    assert 20 <= len(page.text_content("#text")) < 4000
    page.press("#prompt", "Control+Enter")
    expect(page.locator("#text")).to_have_text(re.compile(r"[\s\S]"))
    page.click("#stop")
    expect(page.locator("#status")).to_have_text(re.compile(r"Stopped: \d+ characters"))
    expect(page.locator("#tell")).to_be_focused()


@needs_chromium
def test_a_mistake_is_shown_as_text_and_the_story_before_it_stays(page: Page) -> None:
    fill(page, length=10, seed=1)
    page.click("#tell")
    expect(page.locator("#status")).to_have_text(re.compile("Told"))
    before = page.text_content("#story")
    fill(page, prompt="Once x")
    page.click("#tell")
    expect(page.get_by_role("alert")).to_contain_text("prompt: 'x' (U+0078) at position 5")
    assert page.text_content("#story") == before
    fill(page, prompt="Once")
    page.click("#tell")
    expect(page.locator("#error")).to_be_hidden()


@needs_chromium
def test_a_server_that_is_gone_is_told(browser) -> None:
    page = browser.new_page()
    with serving(create_app(MODEL, VOCABULARY)) as port:
        page.goto(f"http://127.0.0.1:{port}/")
    page.click("#tell")
    expect(page.get_by_role("alert")).to_have_text(re.compile("does not answer"))
    page.close()


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_it_fits_narrow_and_wide_in_light_and_dark(browser, address, width, scheme) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(address)
    assert page.locator("details[open]").count() == (width > 900)
    if width < 900:
        page.click("summary")
    fill(page, prompt="O" * 300, length=50)
    page.click("#tell")
    expect(page.locator("#status")).to_have_text(re.compile("Told"))
    # nothing to scroll sideways: the body is as wide as the window
    assert page.locator("html").bounding_box()["width"] == width
    for selector in ("#prompt", "#tell", "#story"):
        box = page.locator(selector).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    page.close()
