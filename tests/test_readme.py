"""What README.md and docs/ tell people to type works."""

import json
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from carousel.data.vocabulary import Vocabulary
from carousel.server.app import create_app
from conftest import ROOT
from generation.markov import Markov
from server.running import serving, thread_engine

README = "README.md"
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / README, *sorted(ROOT.glob("docs/*.md")))
}
ALL = "\n".join(PAGES.values())
# Enough for the commands to be carried out, too little to learn anything.
BRIEF = ["--steps", "3", "--batch-size", "2", "--sequence-length", "16", "--hidden-size", "8"]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], flags=re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[list[str]]:
    """Return the `carousel …` lines of a page's shell blocks, in order."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("carousel ")]


def ending_commands(page: str) -> list[list[str]]:
    """Return those of its commands that end by themselves: a server does not."""
    return [command for command in commands(page) if command[1] != "serve"]


# docs/python.md has a test of its own: its blocks share names, and tests/api runs them.
WITH_PYTHON = [page for page in PAGES if page != "docs/python.md" and blocks(page, "python")]
WITH_COMMANDS = [page for page in PAGES if ending_commands(page)]


def write_inputs(folder: Path) -> None:
    """Write the files that the pages' commands and blocks read."""
    text = "It was a dark night.\n\nIt was a bright morning, and nobody knew why.\n" * 40
    (folder / "my-own-text.txt").write_text(text, encoding="utf-8")
    rows = "\n".join(f"{row},{row % 7 + row / 10}" for row in range(90))
    (folder / "values.csv").write_text(f"day,value\n{rows}\n", encoding="utf-8")


def test_the_readme_fits_on_150_lines_and_links_every_page() -> None:
    assert len(PAGES[README].splitlines()) <= 150
    assert {page for page in PAGES if page != README and f"({page})" not in PAGES[README]} == set()


def test_no_block_or_command_was_lost() -> None:
    """There were 5 blocks of Python and 14 commands when README.md had them all."""
    assert sum(len(blocks(page, "python")) for page in WITH_PYTHON) >= 6
    assert sum(len(commands(page)) for page in PAGES) >= 21
    run = {command[1] for page in PAGES for command in commands(page)}
    assert run >= {"train", "sample", "eval", "tales", "forecast", "prepare", "kernels", "serve"}


@pytest.mark.filterwarnings("ignore::carousel.CarouselWarning")  # documents that are alike
@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_python_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAROUSEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), {})


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_the_commands_run_one_after_the_other(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAROUSEL_CACHE", str(tmp_path / "cache"))
    write_inputs(tmp_path)
    run = ending_commands(page)
    for command in run:
        brief = {"train": BRIEF, "forecast": ["--epochs", "2"]}.get(command[1], [])
        done = subprocess.run(
            [sys.executable, "-m", "carousel", *command[1:], *brief],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
        )
        assert done.returncode == 0, (command, done.stderr)
    if any(command[1] == "tales" for command in run):
        assert (tmp_path / "tales.txt").stat().st_size >= 1_000_000


def test_the_server_is_started_as_told() -> None:
    from carousel.cli.parse import parse
    from carousel.cli.serve import Serve

    asked = {
        page: [command[2:] for command in commands(page) if command[1] == "serve"] for page in PAGES
    }
    started = {
        page: [parse(Serve, arguments, prog="carousel serve") for arguments in lines]
        for page, lines in asked.items()
        if lines
    }
    story, own = Path("story"), Path("runs/my-own-text")
    assert {page: [each.run for each in each_page] for page, each_page in started.items()} == {
        "README.md": [(own,)],
        "docs/command_line.md": [(story,), (own,)],
        "docs/server.md": [(own,), (story, own), (), ()],
    }
    *_, behind_a_proxy, with_a_page = started["docs/server.md"]
    assert behind_a_proxy.allowed_host == ("models.example.org",)
    assert with_a_page.cors_origin == ("http://localhost:3000",)


def test_the_api_is_asked_as_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Serve a model and carry out the two examples: the call of curl, and the client's program."""
    vocabulary = Vocabulary.from_text("Once upon a time")
    model = Markov(len(vocabulary))
    (curl,) = [block for page in PAGES for block in blocks(page, "console") if "curl" in block]
    (client,) = [block for page in PAGES for block in blocks(page, "py") if "openai" in block]
    with (
        thread_engine(model, vocabulary, name="my-own-text") as engine,
        serving(create_app([engine])) as port,
    ):
        here = f"127.0.0.1:{port}"
        words = shlex.split(curl[2:].replace("\\\n", "").replace("127.0.0.1:5000", here))
        assert [words[0], words[1], words[3], words[5]] == ["curl", "-s", "-H", "-d"]
        headers = dict([words[4].split(": ")])
        request = urllib.request.Request(words[2], words[6].encode(), headers)
        with urllib.request.urlopen(request, timeout=20) as response:
            assert len(json.load(response)["choices"][0]["text"]) == 200
        exec(compile(client.replace("127.0.0.1:5000", here), "docs/server.md", "exec"), {})
    assert len(capsys.readouterr().out) == 600


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([\w-]+)\b(?=`|  )", ALL))))
def test_make_has_what_is_named(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_flag_in_the_text_exists() -> None:
    from carousel.cli.main import COMMANDS
    from carousel.models.families import FAMILIES

    asked = [[name, "--help"] for name in COMMANDS]
    asked += [["train", "--model", family, "--help-all"] for family in FAMILIES]
    helps = "".join(
        subprocess.run(
            [sys.executable, "-m", "carousel", *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
        ).stdout
        for arguments in asked
    )
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", ALL))
    assert len(flags) >= 50, "README.md alone had 50"
    assert {flag for flag in flags if f"{flag} " not in helps and f"{flag}\n" not in helps} == set()


NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def result_rows() -> list[list[str]]:
    _, _, section = PAGES[README].partition("\n## Results\n")
    table = re.findall(r"^\| (.*) \|$", section.partition("\n## ")[0], re.MULTILINE)
    return [row.split(" | ") for row in table[1:]]


def test_every_number_of_the_results_stands_in_the_results_page() -> None:
    """In a row there: the target and the result of each row of README.md, side by side."""
    rows = result_rows()
    assert len(rows) == 5
    measured = (ROOT / "RESULTS.md").read_text("utf-8").splitlines()
    known = [set(NUMBER.findall(line)) for line in measured if line.startswith("|")]
    for row in rows:
        wanted = set(NUMBER.findall(" ".join(row[1:])))
        assert len(wanted) >= 2, row
        assert any(wanted <= numbers for numbers in known), row
