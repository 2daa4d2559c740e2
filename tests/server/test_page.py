"""The page in a real browser: a prompt in, a story out, mistakes as text, all of it from here."""

import re
import shutil
from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from carousel.generation.config import DEFAULT_SAMPLING
from carousel.server.app import create_app
from carousel.server.types import Busy, Job, Unavailable
from server.fake_engine import FakeEngine, drawn, model_info
from server.running import serving

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

DELAY = 0.008  # seconds that two characters take
LETTERS = sorted(set("\nOnce upon a time <b>/é"))
SCRIPT = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
# Tab and line feed are obeyed; a name that begins with a bracket must not become an element.
ODD = [*"\t\n \0\x07\b\r\x1b\x7f\x85\u202e\u2066", *SCRIPT]
PICTURES = {
    0x00: "␀", 0x07: "␇", 0x08: "␈", 0x0D: "␍", 0x1B: "␛", 0x7F: "␡", 0x85: "\ufffd",
    0x202E: "\ufffd", 0x2066: "\ufffd",
}  # fmt: skip


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
def engines() -> list[FakeEngine]:
    odd = model_info("<i>odd</i>", sorted(set(ODD)), max_length=120)
    return [FakeEngine(model_info("small", LETTERS), pace=2, delay=DELAY), FakeEngine(odd)]


@pytest.fixture(scope="module")
def address(engines):
    with serving(create_app(engines[:1])) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def two(engines):
    with serving(create_app(engines)) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture
def open_page(browser):
    """Open pages; what one complains of or asks for elsewhere fails the test."""
    pages, complaints = [], []

    def open_page(address: str, **how) -> Page:
        page = browser.new_page(**how)
        pages.append(page)
        requests = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(address)
        assert requests
        page.on(
            "close", lambda: complaints.extend(u for u in requests if u[: len(address)] != address)
        )
        return page

    yield open_page
    for page in pages:
        page.close()
    refused = re.compile("the server responded with a status of (400|401|429|503)")
    assert [text for text in complaints if not refused.search(text)] == []


@pytest.fixture
def page(open_page, address):
    return open_page(address)


@pytest.fixture(autouse=True)
def anew(request):
    yield
    if "engines" in request.fixturenames:
        for engine in request.getfixturevalue("engines"):
            engine.api_error = engine.failure = None
        request.getfixturevalue("engines")[0].delay = DELAY


def story(prompt: str, length: int, letters: list[str] = LETTERS, **settings: float) -> str:
    return drawn(
        Job(prompt=prompt, length=length, sampling=replace(DEFAULT_SAMPLING, **settings)),
        letters,
    )


def fill(page: Page, **fields: object) -> None:
    for name, value in fields.items():
        page.fill(f"#{name}", str(value))


@needs_chromium
def test_a_story_is_told_as_it_is_written(page: Page) -> None:
    fill(page, prompt="<b>Once</b>", length=400, seed=5, top_k=9, temperature=1.5)
    fill(page, top_p=0.7, repetition_penalty=1.2, candidates=3)
    page.click("#tell")
    expect(page.locator("#story")).to_have_attribute("aria-busy", "true")
    expect(page.locator("#text")).to_have_text(re.compile(r"[\s\S]"))
    assert len(page.text_content("#text")) < 400
    expect(page.locator("#status")).to_have_text("Told: 400 characters, seed 5.")
    assert page.text_content("#told") == "<b>Once</b>"  # as text, not as markup
    assert page.text_content("#text") == story(
        "<b>Once</b>",
        400,
        seed=5,
        top_k=9,
        temperature=1.5,
        top_p=0.7,
        repetition_penalty=1.2,
        candidates=3,
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
def test_keys_tell_and_stop(page: Page, engines: list[FakeEngine]) -> None:
    engines[0].delay = 0.05  # 100 s to the end
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
def test_one_clear_line_where_there_is_no_room(page: Page, engines: list[FakeEngine]) -> None:
    for api_error, line in (
        (Busy("64 texts are being written"), "The story-teller is busy. Try again in 1 s."),
        (Unavailable("died"), "The story-teller is starting anew. Try again in 1 s."),
    ):
        engines[0].api_error = api_error
        page.click("#tell")
        expect(page.get_by_role("alert")).to_have_text(line)
        expect(page.locator("#stop")).to_be_disabled()
    engines[0].api_error = None
    fill(page, length=3000)
    page.click("#tell")
    expect(page.locator("#text")).to_have_text(re.compile(r"[\s\S]"))
    engines[0].failure = Unavailable("its worker died: the text ends here")
    expect(page.get_by_role("alert")).to_have_text("its worker died: the text ends here")
    assert page.text_content("#text")  # what was told stays
    expect(page.locator("#story")).to_have_attribute("aria-busy", "false")


@needs_chromium
def test_who_has_had_enough_is_told_when_there_is_more(open_page) -> None:
    app = create_app([FakeEngine(model_info("small", LETTERS))], characters_per_minute=1000)
    with serving(app) as port:
        page = open_page(f"http://127.0.0.1:{port}/")
        page.fill("#candidates", "1")
        page.click("#tell")
        expect(page.locator("#status")).to_have_text(re.compile("Told: 600"))
        page.click("#tell")
        line = re.compile(r"You have had your characters of this minute\. Try again in 1\d s\.")
        expect(page.get_by_role("alert")).to_have_text(line)


@needs_chromium
def test_what_a_model_writes_is_shown_and_not_obeyed(open_page, two: str) -> None:
    page = open_page(two)
    page.select_option("#model", "<i>odd</i>")
    prompt = f"\t\n{SCRIPT}"
    fill(page, prompt=prompt, seed=5, candidates=1)
    page.evaluate(
        "p => { document.getElementById('prompt').value = p; }", prompt + "\x1b\u202e\x85"
    )
    title = page.title()
    page.click("#tell")
    expect(page.locator("#status")).to_have_text(re.compile("Told"))
    # The model has 120 positions, the last character needs none.
    length = 121 - len(prompt) - 3
    whole = story(prompt + "\x1b\u202e\x85", length, sorted(set(ODD)), seed=5, candidates=1)
    assert {"\0", "\x1b"} & {*whole}
    assert page.text_content("#text") == whole.translate(PICTURES)
    assert page.text_content("#told") == prompt + "␛\ufffd\ufffd"
    assert page.locator("#story :not(#told, #text)").count() == 0
    assert page.title() == title


@needs_chromium
def test_another_model_suits_the_form_to_itself(open_page, two: str, engines) -> None:
    page = open_page(two)
    model = page.get_by_label("Who tells it")
    expect(model).to_have_value("small")
    expect(page.locator("#prompt")).to_have_value("Once upon a time")
    expect(page.locator("#length")).to_have_value("600")
    model.select_option("<i>odd</i>")
    expect(page.locator("#prompt")).to_have_value("")
    expect(page.locator("#prompt")).to_have_attribute("maxlength", "120")
    expect(page.locator("#length")).to_have_value("")
    expect(page.locator("#length")).to_have_attribute("placeholder", "the most")
    expect(page.locator("#length-hint")).to_contain_text("at most 120, prompt included")
    expect(page.locator("#top_k")).to_have_attribute("max", str(len(set(ODD))))
    page.click("#tell")
    expect(page.locator("#status")).to_have_text(re.compile("Told: 120 characters"))
    fill(page, prompt="own")
    model.select_option("small")
    expect(page.locator("#prompt")).to_have_value("own")  # what was written stays
    expect(page.locator("#length")).to_have_value("600")
    expect(page.locator("#length-hint")).to_have_text("Characters to write, at most 4000.")
    fill(page, prompt="Once", length=5, seed=2)
    page.click("#tell")
    expect(page.locator("#status")).to_have_text("Told: 5 characters, seed 2.")
    assert page.text_content("#text") == story("Once", 5, seed=2)


@needs_chromium
def test_what_telephones_write_by_themselves_is_given_as_the_model_has_it(
    open_page, two: str
) -> None:
    page = open_page(two)
    fill(page, prompt="Once upon a tim\u00e9\u00a0<b>", length=5)
    page.click("#tell")
    expect(page.locator("#told")).to_have_text("Once upon a tim\u00e9 <b>", use_inner_text=False)
    fill(page, prompt="‘o’")
    page.click("#tell")  # it has no quotation marks at all
    expect(page.get_by_role("alert")).to_have_text(re.compile(r"'‘' \(U\+2018\) .*characters$"))
    page.select_option("#model", "<i>odd</i>")
    page.click("#tell")
    expect(page.locator("#told")).to_have_text("'o'")


@needs_chromium
def test_a_token_is_asked_for_and_kept_nowhere(open_page) -> None:
    with serving(create_app([FakeEngine(model_info("small", LETTERS))], token="sesame")) as port:
        page = open_page(f"http://127.0.0.1:{port}/")
        token = page.get_by_label("Access token")
        expect(token).to_have_attribute("type", "password")
        page.click("#tell")  # the browser itself asks for it
        expect(token).to_be_focused()
        fill(page, token="wrong", length=5)
        page.click("#tell")
        expect(page.get_by_role("alert")).to_have_text("The access token is not the right one.")
        fill(page, token="sesame")
        page.click("#tell")
        expect(page.locator("#status")).to_have_text(re.compile("Told: 5 characters"))
        kept = "[document.cookie, localStorage.length, sessionStorage.length, location.search]"
        assert page.evaluate(kept) == ["", 0, 0, ""]
        page.reload()
        expect(page.get_by_label("Access token")).to_have_value("")


@needs_chromium
def test_a_server_that_is_gone_is_told(browser) -> None:
    page = browser.new_page()
    with serving(create_app([FakeEngine(model_info("small", LETTERS))])) as port:
        page.goto(f"http://127.0.0.1:{port}/")
    page.click("#tell")
    expect(page.get_by_role("alert")).to_have_text(re.compile("does not answer"))
    page.close()


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_it_fits_narrow_and_wide_in_light_and_dark(open_page, two, width, scheme) -> None:
    page = open_page(two, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.locator("details[open]").count() == (width > 900)
    if width < 900:
        page.click("summary")
    fill(page, prompt="O" * 300, length=50)
    page.click("#tell")
    expect(page.locator("#status")).to_have_text(re.compile("Told"))
    # nothing to scroll sideways: the body is as wide as the window
    assert page.locator("html").bounding_box()["width"] == width
    for selector in ("#prompt", "#model", "#tell", "#story"):
        box = page.locator(selector).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
