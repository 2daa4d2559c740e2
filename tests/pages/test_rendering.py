"""Every page of math/ and notes/ renders as a plain Git host would, without raw LaTeX."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pages.equations import PAGES

HERE = Path(__file__).parent
RAW = re.compile(r"\$|\\[A-Za-z]+|\^\{|_\{")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("node") is None or not (HERE / "node_modules").is_dir():
        pytest.skip("needs node, and `npm ci` in tests/pages, which `make test` does where npm is")
    folder = tmp_path_factory.mktemp("rendered")
    done = subprocess.run(
        ["node", str(HERE / "render.mjs"), str(folder), *map(str, PAGES)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_no_raw_latex_is_left(rendered: Path) -> None:
    left = [
        f"{page}: {found}"
        for number, page in enumerate(PAGES)
        if (found := raw((rendered / f"{number}.html").read_text("utf-8")))
    ]
    assert not left, "\n".join(left)


def raw(html: str) -> list[str]:
    """Return what looks like LaTeX among the words of a page; code may hold what it likes."""
    body = html.split("<main>")[1]
    for hidden in ("annotation", "pre", "code"):
        body = re.sub(rf"<{hidden}\b.*?</{hidden}>", "", body, flags=re.DOTALL)
    return RAW.findall(re.sub(r"<[^>]*>", "", body))


@pytest.mark.parametrize("left", ["<p>where $x$ is</p>", r"<p>\frac 1 2</p>", "<td>h_{t-1}</td>"])
def test_raw_latex_would_be_seen(left: str) -> None:
    assert raw(f"<main>{left}</main>")
    assert not raw(f"<main><pre>{left}</pre>done</main>")
