"""What the README tells people to type works."""

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
from server.running import serving, thread_writer

README = (ROOT / "README.md").read_text(encoding="utf-8")
# Enough for the commands to be carried out, too little to learn anything.
BRIEF = ["--steps", "3", "--batch-size", "2", "--sequence-length", "16", "--hidden-size", "8"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """Return the `carousel …` lines of the shell blocks, in order."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("carousel ")]


def test_the_python_blocks_run() -> None:
    assert blocks("python")
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})


def test_the_commands_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAROUSEL_CACHE", str(tmp_path / "cache"))
    text = "It was a dark night.\n\nIt was a bright morning, and nobody knew why.\n" * 40
    (tmp_path / "my-own-text.txt").write_text(text, encoding="utf-8")
    rows = "\n".join(f"{row},{row % 7 + row / 10}" for row in range(90))
    (tmp_path / "values.csv").write_text(f"day,value\n{rows}\n", encoding="utf-8")
    run = [command for command in commands() if command[1] != "serve"]  # it would not end
    assert {command[1] for command in run} >= {"train", "sample", "eval", "tales", "forecast"}
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
    assert (tmp_path / "tales.txt").stat().st_size >= 1_000_000


def test_the_server_is_started_as_told() -> None:
    from carousel.cli.parse import parse
    from carousel.cli.serve import Serve

    asked = [command[2:] for command in commands() if command[1] == "serve"]
    runs = [parse(Serve, arguments, prog="carousel serve").run for arguments in asked]
    assert runs == [(Path("story"),), (Path("runs/my-own-text"),)]


def test_the_api_is_asked_as_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Serve a model and carry out the two examples: the call of curl, and the client's program."""
    vocabulary = Vocabulary.from_text("Once upon a time")
    model = Markov(len(vocabulary))
    (curl,) = [block for block in blocks("console") if "curl" in block]
    (client,) = [block for block in blocks("py") if "openai" in block]
    with (
        thread_writer(model, vocabulary, name="my-own-text") as writer,
        serving(create_app([writer])) as port,
    ):
        here = f"127.0.0.1:{port}"
        words = shlex.split(curl[2:].replace("\\\n", "").replace("127.0.0.1:5000", here))
        assert [words[0], words[1], words[3], words[5]] == ["curl", "-s", "-H", "-d"]
        headers = dict([words[4].split(": ")])
        request = urllib.request.Request(words[2], words[6].encode(), headers)
        with urllib.request.urlopen(request, timeout=20) as response:
            assert len(json.load(response)["choices"][0]["text"]) == 200
        exec(compile(client.replace("127.0.0.1:5000", here), "README.md", "exec"), {})
    assert len(capsys.readouterr().out) == 600


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make (\w+)", README, re.MULTILINE))))
def test_make_has_what_is_named(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_flag_in_the_text_exists() -> None:
    from carousel.cli.main import COMMANDS

    helps = "".join(
        subprocess.run(
            [sys.executable, "-m", "carousel", name, "--help"],
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
        ).stdout
        for name in COMMANDS
    )
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    assert len(flags) > 5
    assert {flag for flag in flags if f"{flag} " not in helps and f"{flag}\n" not in helps} == set()
