"""The command as users call it: in a process of its own, or in this one where that is enough."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from carousel.cli.main import run

LINES = [
    "the king sang to the queen, and the queen sang to the frog",
    "a frog in the well sang to the moon, and the moon sang back",
    "nobody in the land slept that night but the old owl",
    "so the king gave the owl a golden key, and the owl gave it to the frog",
]
TEXT = "".join(
    f"{LINES[(k * k + k // 3) % 4]}.\n{chr(10) if k % 7 == 6 else ''}" for k in range(80)
)

# As small as it can be; the flags of every test begin with these, later ones win.
TINY = (
    *("--embedding-size", "5", "--hidden-size", "12", "--batch-size", "4"),
    *("--sequence-length", "16", "--sample-every", "0", "--threads", "1", "--device", "cpu"),
)


class Result(NamedTuple):
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


def environment(cwd: Path, **changes: str) -> dict[str, str]:
    """Surroundings in which no test touches the user's cache or terminal settings."""
    ours = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return ours | {"CAROUSEL_CACHE": str(cwd / "cache")} | changes


@contextmanager
def started(cwd: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command in a process of its own; it does not outlive the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "carousel", *arguments],
        cwd=cwd,
        env=environment(cwd),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> Result:
    """Wait for the end of a process."""
    out, err = process.communicate(timeout=120)
    return Result(process.returncode, out, err)


def command(cwd: Path, *arguments: str) -> Result:
    """Run a command in a process of its own."""
    with started(cwd, *arguments) as process:
        return ended(process)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait while the process is at work."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


Call = Callable[..., Result]


def caller(cwd: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs a command in this process, in a folder with a text in it."""
    (cwd / "song.txt").write_text(TEXT, encoding="utf-8")
    monkeypatch.chdir(cwd)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CAROUSEL_CACHE", str(cwd / "cache"))

    def call(*arguments: str) -> Result:
        capfd.readouterr()
        try:
            code = run(list(arguments))
        except SystemExit as exit_:
            code = exit_.code
        return Result(code, *capfd.readouterr())

    return call
