"""What the README tells people to type works."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

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

    (arguments,) = [command[2:] for command in commands() if command[1] == "serve"]
    assert parse(Serve, arguments, prog="carousel serve").run == Path("runs/my-own-text")


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
