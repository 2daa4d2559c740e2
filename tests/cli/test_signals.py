"""SIGTERM, Ctrl-C and a hangup: saved and gone within a step and two seconds, at any moment.

The steps here take milliseconds. A resumed run ends with the bits of one that nobody disturbed; a
trainer that wants into the same folder is turned away.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from carousel.cli import train_run
from carousel.models.checkpoint import read_checkpoint, resolve
from cli.commands import (
    TEXT,
    TINY,
    Call,
    Result,
    caller,
    command,
    ended,
    environment,
    started,
    wait_until,
)
from cli.disturbed import STEPS, last_step, outcome, temporary, train

pytestmark = pytest.mark.serial
LIMIT = 2.0  # seconds, on a machine that does nothing else
CODES = {"SIGHUP": 129, "SIGINT": 130, "SIGTERM": 143}
SIGNALS = [name for name in CODES if hasattr(signal, name)]  # Windows has no SIGHUP
posix = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no hangup")
SAVED = "interrupted: step {} is saved in {}; the same command with --resume goes on from there\n"


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    (tmp_path / "song.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


@pytest.fixture
def call(cwd: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    return caller(cwd, monkeypatch, capfd)


@cache
def margin() -> float:
    """Seconds that a busy machine is granted: what it takes just now to start the program."""
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", "import carousel.cli.train_run"], check=True)
    return time.monotonic() - begin


@contextmanager
def in_time(what: str) -> Iterator[None]:
    begin = time.monotonic()
    yield
    seconds = time.monotonic() - begin
    assert seconds < LIMIT + margin(), f"{seconds:.1f} s after {what}"


def send(process: subprocess.Popen[str], name: str) -> Result:
    """Send a signal; the process must be gone in time."""
    with in_time(name):
        process.send_signal(getattr(signal, name))
        return ended(process)


def validated(run: Path) -> int:
    """Step of the last validation that the last checkpoint knows."""
    config = json.loads(read_checkpoint(resolve(run, "last"))["config.json"])
    step: int = config["progress"]["validated"]
    return step


def test_an_interrupted_run_ends_with_the_same_bits(cwd: Path, call: Call) -> None:
    alone = call(*train("lanes", "alone"))
    run, at = cwd / "run", 0
    for name in SIGNALS:
        with started(cwd, *train("lanes", "run", "--resume")) as process:
            wait_until(lambda begin=at: last_step(run) > begin, process)
            if at == 0:
                os.kill(process.pid, signal.SIGSTOP)  # or it might be done before the other asks
                second = call(*train("lanes", "run", "--resume"))
                os.kill(process.pid, signal.SIGCONT)
                message = f"run is in use by another process (pid {process.pid})\n"
                assert second == Result(1, "", f"carousel train: {message}")
            time.sleep(random.uniform(0, 0.05))
            result = send(process, name)
        nothing = "warning: nothing to resume; starting at step 0\n"
        assert (f"resuming run from step {at}\n" if at else nothing) in result.err
        at = last_step(run)
        assert 0 < at < STEPS, "the signal came too late"
        assert (result.code, result.out) == (CODES[name], "")
        assert result.err.endswith(SAVED.format(at, "run"))
    finished = command(cwd, *train("lanes", "run", "--resume"))
    assert (finished.code, alone.code) == (0, 0), finished.err + alone.err
    assert f"resuming run from step {at}\n" in finished.err
    assert outcome(run) == outcome(cwd / "alone")
    assert finished.out == alone.out  # the same model writes the same text


def test_in_the_middle_of_a_validation(cwd: Path) -> None:
    """One of many seconds, at step 2."""
    (cwd / "long.txt").write_text(TEXT * 500, encoding="utf-8")
    schedule = ["--steps", "9", "--save-every", "1", "--eval-every", "2", "--fractions", "0.5,0.5"]
    sizes = ["--hidden-size", "256", "--num-layers", "2"]
    with started(cwd, "train", "long.txt", "--out", "run", *TINY, *sizes, *schedule) as process:
        wait_until(lambda: last_step(cwd / "run") == 1, process)
        time.sleep(1.0)
        result = send(process, "SIGTERM")
    assert result.code == 143
    assert result.err.endswith(SAVED.format(2, "run"))
    assert validated(cwd / "run") == 0


def test_in_the_middle_of_a_save(cwd: Path) -> None:
    with started(cwd, *train("lanes", "run", "--hidden-size", "256")) as process:
        wait_until(lambda: last_step(cwd / "run") > 0, process)
        while not temporary(cwd / "run"):
            assert process.poll() is None
        result = send(process, "SIGTERM")
    assert result.code == 143
    assert result.err.endswith(SAVED.format(last_step(cwd / "run"), "run"))
    assert temporary(cwd / "run") == set()


def test_before_the_first_step(cwd: Path) -> None:
    """While the speed is measured, with steps of many seconds."""
    sizes = ["--hidden-size", "512", "--batch-size", "64", "--sequence-length", "2000"]
    (cwd / "long.txt").write_text(TEXT * 60, encoding="utf-8")
    arguments = ["train", "long.txt", "--out", "run", *TINY, *sizes, "--batching", "windows"]
    with started(cwd, *arguments) as process:
        wait_until((cwd / "run" / "checkpoints").exists, process)
        time.sleep(0.5)
        result = send(process, "SIGTERM")
    message = "interrupted: before the first step; nothing to save\n"
    assert result == Result(143, "", message)
    assert not (cwd / "run").exists()


@pytest.mark.parametrize("name", SIGNALS)
def test_while_a_text_is_prepared(cwd: Path, name: str) -> None:
    """There is nothing to save; SIGTERM and SIGHUP end it as they end any program."""
    (cwd / "long.txt").write_text(TEXT * 10_000, encoding="utf-8")  # 45 MB
    arguments = ["train", "long.txt", "--out", "run", *TINY, "--steps", "3"]
    with started(cwd, *arguments) as process:
        wait_until(lambda: any((cwd / "cache").rglob("*")), process)
        result = send(process, name)
    shells = result.code if result.code >= 0 else 128 - result.code  # as a shell shows a death by n
    assert shells == CODES[name], result
    assert "Traceback" not in result.err
    assert not (cwd / "run").exists()


# The terminal goes away.


@posix
def test_a_terminal_that_is_closed(cwd: Path) -> None:
    """Nothing can be written to it any more; the run is saved all the same."""
    with in_a_terminal(cwd, *train("lanes", "run")) as (process, close):
        wait_until(lambda: last_step(cwd / "run") > 0, process)
        with in_time("closing the terminal"):
            close()
            assert process.wait(timeout=60) == 129
    at = last_step(cwd / "run")
    assert 0 < at < STEPS
    finished = command(cwd, *train("lanes", "run", "--resume"))
    assert finished.code == 0
    assert f"resuming run from step {at}\n" in finished.err


LEADER = (  # of a session whose terminal is its standard error
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(2, termios.TIOCSCTTY, 0);"
    "os.execv(sys.executable, [sys.executable, '-m', 'carousel', *sys.argv[1:]])"
)


@contextmanager
def in_a_terminal(
    cwd: Path, *arguments: str
) -> Iterator[tuple[subprocess.Popen[str], Callable[[], None]]]:
    """Start a command in a terminal of its own; yield it, and a function that closes the window."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", LEADER, *arguments],
        cwd=cwd,
        env=environment(cwd, TERM="dumb"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        text=True,
    ) as process:
        os.close(theirs)
        try:
            yield process, lambda: os.close(ours)
        finally:
            process.kill()


NOHUP = (
    "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
    "os.execv(sys.executable, [sys.executable, '-m', 'carousel', *sys.argv[1:]])"
)


@posix
def test_under_nohup_a_hangup_is_nothing(cwd: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", NOHUP, *train("lanes", "run")],
        cwd=cwd,
        env=environment(cwd),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: last_step(cwd / "run") > 0, process)
        process.send_signal(signal.SIGHUP)
        assert ended(process).code == 0
    assert last_step(cwd / "run") == STEPS


# More than one.


def test_two_at_once_are_one_and_a_later_one_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell and the system each send a hangup when a terminal closes; it is never obeyed."""
    numbers, obeyed, now = [getattr(signal, name) for name in SIGNALS], [], 100.0
    monkeypatch.setattr(train_run, "clock", lambda: now)
    first = {n: signal.signal(n, lambda number, _: obeyed.append(number)) for n in numbers}
    try:
        before = [signal.getsignal(n) for n in numbers]
        with train_run._signals() as caught:
            caught.at_work = True
            for n in (signal.SIGTERM, *numbers):
                signal.raise_signal(n)
            assert (caught.number, obeyed) == (signal.SIGTERM, [])
            now += 60
            for n in numbers:
                signal.raise_signal(n)
            assert obeyed == [n for n in numbers if n in (signal.SIGINT, signal.SIGTERM)]
        assert [signal.getsignal(n) for n in numbers] == before
    finally:
        for n, handler in first.items():
            signal.signal(n, handler)
