"""Answers that need no model come at once, and nothing but text and data goes to stdout."""

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from carousel._version import __version__
from cli.commands import command, environment

COMMANDS = (
    "prepare",
    "train",
    "sample",
    "eval",
    "serve",
    "forecast",
    "verify",
    "kernels",
    "bench",
    "tales",
)


@pytest.mark.serial
@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), ([], 2), (["--version"], 0)])
def test_help_comes_within_half_a_second(tmp_path: Path, arguments: list[str], code: int) -> None:
    """The quickest of three: whatever else the machine does can only make one slower."""
    seconds = []
    for _ in range(3):
        before = time.perf_counter()
        assert command(tmp_path, *arguments).code == code
        seconds.append(time.perf_counter() - before)
    assert min(seconds) < 0.5


def loaded_by(cwd: Path, *arguments: str) -> tuple[int, set[str]]:
    """Run a command and tell which of the large libraries it has loaded."""
    program = (
        "import sys\n"
        "from carousel.cli.main import run\n"
        "try:\n    code = run(sys.argv[1:])\n"
        "except SystemExit as exit_:\n    code = exit_.code\n"
        "large = {'torch', 'numpy', 'matplotlib', 'flask', 'tyro', 'rich'} & set(sys.modules)\n"
        "print(code, *large, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=cwd,
        env=environment(cwd),
        capture_output=True,
        text=True,
        check=True,
    )
    code, *large = done.stderr.splitlines()[-1].split()
    return int(code), set(large)


def test_the_first_help_loads_nothing(tmp_path: Path) -> None:
    assert loaded_by(tmp_path, "--help") == (0, set())
    assert loaded_by(tmp_path) == (2, set())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_loads_no_torch(tmp_path: Path, name: str) -> None:
    code, large = loaded_by(tmp_path, name, "--help")
    assert code == 0
    assert not large & {"torch", "matplotlib", "flask"}


def test_a_mistake_is_found_without_torch(tmp_path: Path) -> None:
    code, large = loaded_by(tmp_path, "train", "a.txt", "--hidden-size", "0")
    assert (code, "torch" in large) == (2, False)


def test_version(tmp_path: Path) -> None:
    assert command(tmp_path, "--version") == (0, f"carousel {__version__}\n", "")


def test_help_names_every_command(tmp_path: Path) -> None:
    from carousel.cli.main import COMMANDS as known

    out = command(tmp_path, "--help").out
    assert tuple(known) == COMMANDS
    assert all(f"\n  {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("locale", ["C", "de_DE.ISO-8859-1"])
def test_any_locale_will_do(tmp_path: Path, locale: str) -> None:
    changes = {
        "LC_ALL": locale,
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "ascii",
    }
    for arguments, code in ((["--help"], 0), (["train", "--help"], 0), (["train", "--stepps"], 2)):
        done = subprocess.run(
            [sys.executable, "-m", "carousel", *arguments],
            env=environment(tmp_path, **changes),
            capture_output=True,
            check=False,
        )
        assert done.returncode == code, done.stderr.decode()
        assert b"Traceback" not in done.stderr
        assert done.stderr.count(b"\n") == (code == 2)
        assert code or "…" in done.stdout.decode("utf-8") or "╭" in done.stdout.decode("utf-8")


def on_a_terminal(cwd: Path, **changes: str) -> str:
    """What a styled line looks like on a terminal."""
    ours, theirs = pty.openpty()
    program = (
        "from carousel.cli.console import console, rows\n"
        "console.print('careful', style='bold yellow')\n"
        "rows({'text': 'song.txt'})"
    )
    with os.fdopen(ours, "rb", buffering=0) as screen:
        done = subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment(cwd, TERM="xterm-256color", **changes),
            stderr=theirs,
        )
        os.close(theirs)
        assert done.wait() == 0
        return screen.read(4096).decode()


@pytest.mark.skipif(sys.platform == "win32", reason="pty is of POSIX")
def test_style_is_for_terminals_that_want_it(tmp_path: Path) -> None:
    assert "\x1b[" in on_a_terminal(tmp_path)
    plain = on_a_terminal(tmp_path, NO_COLOR="1")
    assert plain == "careful\r\ntext     song.txt\r\n"
