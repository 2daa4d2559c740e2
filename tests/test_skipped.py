"""The closing line about tests that were skipped for want of a program."""

from server.test_page import needs_chromium
from skipped import closing_line


def test_absent_programs_are_counted_in_one_line() -> None:
    browser = needs_chromium.kwargs["reason"]
    page = "needs node, and `npm ci` in tests/pages, which `make test` does where npm is"
    want = (
        "skipped 2 tests in the browser and 1 tests of rendered pages: "
        "apt-get install chromium npm, then make test"
    )
    assert closing_line([browser, "no kernels here", browser, page]) == want
    assert closing_line(["no kernels here"]) is None
