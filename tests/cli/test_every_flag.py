"""Every flag of every command with values that nobody means: one line, and nothing left behind.

What takes long (training, fitting, listening, proving, measuring) is left out here: it begins only
when all arguments are accepted. `make torture` runs the same in processes of their own.
"""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest
from flask import Flask

from budgets import torture, torture_only
from carousel import forecast_api
from carousel.cli import bench, train_run, verify
from carousel.server.http_server import Server
from carousel.training import prepared_run
from carousel.training.supervised import FitResult
from cli.commands import TEXT, TINY, Call, Result, caller, command
from cli.flags import Flag, flags
from cli.foreign import picture

VALUES = {
    "minus one": "-1",
    "zero": "0",
    "a huge float": "1e308",
    "not a number": "nan",
    "infinity": "inf",
    "nothing": "",
    "many letters": "x" * 5000,
    "many digits": "7" * 5000,
    "2^63": str(2**63),
    "2^31": str(2**31),
    "an escape": "\x1b[31m\x1b]0;title\x07",
    "a folder": "folder",
    "a missing file": "missing/file",
    "the folder above": "..",
}
SECONDS = 20  # that a mistake may take: a busy machine loads modules that long, no hang ends sooner
LONGEST_LINE = 900  # a quotation of 300 characters, and all rows that --family knows


def stop_at_once(server: Server, end_texts: Callable[[], None]) -> None:
    """Let a server end that has its port."""
    server.stop()
    run_server(server, end_texts)


run_server = Server.run


class AtWork(BaseException):
    """All arguments are accepted: what follows takes long."""


class TooLong(BaseException):
    """An argument is neither accepted nor refused: no error that a command handles."""


def begin(*_: Any, **__: Any) -> NoReturn:
    raise AtWork


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        capture = SimpleNamespace(readouterr=lambda: ("", ""))
        call = caller(folder, patch, capture)
        assert call("train", "song.txt", *TINY, "--steps", "2", "--out", "run").code == 0
    return folder


def furnish(place: Path) -> None:
    """Put a text, a table and a folder there."""
    (place / "folder").mkdir()
    (place / "folder" / "letter.md").write_text("dear diary")
    (place / "song.txt").write_text(TEXT, encoding="utf-8")
    rows = [f"{k},{100 + 10 * np.sin(k / 3):.3f}" for k in range(90)]
    (place / "tides.csv").write_text("\n".join(["day,metres", *rows, ""]))


@pytest.fixture
def call(
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Call:
    """A folder with what each command needs, and one above that is nobody's."""
    place = tmp_path / "above" / "place"
    place.mkdir(parents=True)
    furnish(place)
    call = caller(place, monkeypatch, capfd)
    monkeypatch.setenv("CAROUSEL_CACHE", str(run_folder / "cache"))
    monkeypatch.setattr(prepared_run, "seconds_per_step", lambda trainer: 0.001)
    monkeypatch.setattr(train_run, "_watch", begin)
    monkeypatch.setattr(
        forecast_api, "fit_forecaster", lambda *_: iter([FitResult("patience", 1, 1, 0.5)])
    )
    monkeypatch.setattr("carousel.forecast_report.ForecastReport.save", begin)
    monkeypatch.setattr(verify, "_found", begin)
    monkeypatch.setattr(bench, "_measure", begin)
    monkeypatch.setattr("carousel.tales.write", begin)
    monkeypatch.setattr("carousel.generation.generate.continue_text", begin)
    monkeypatch.setattr(Server, "run", stop_at_once)
    monkeypatch.setattr(
        "carousel.server.supervised_worker.start_supervised_worker",
        lambda run, name, **_: SimpleNamespace(
            wait=lambda: None, close=lambda: None, name=name, card=None
        ),
    )
    monkeypatch.setattr("carousel.server.app.create_app", lambda *_, **__: Flask("none"))
    return call


NEEDED = {
    "prepare": ["song.txt"],
    "train": ["song.txt", *TINY, "--steps", "2"],
    "sample": ["RUN", "--length", "3", "--candidates", "1"],
    "eval": ["RUN", "song.txt"],
    "serve": ["RUN", "--port", "0"],
    "forecast": ["tides.csv", "--embedding-size", "4", "--hidden-size", "6", "--window", "7"],
}


def arguments(flag: Flag, value: str, run: Path) -> list[str]:
    """The command, with what it needs beside the flag."""
    needed = NEEDED.get(flag.command, [])
    if not flag.name:
        is_second = (flag.command, flag.field) == ("eval", "corpus")
        first = ["RUN"] if is_second else []
        needed = [word for word in needed if word not in ("RUN", "song.txt", "tides.csv")]
        needed = [*needed, *first]
    words = [str(run) if word == "RUN" else word for word in needed]
    last = [f"{flag.name}={value}"] if flag.name else ["--", value]
    return [flag.command, *words, *last]


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Fail a block that takes longer."""

    def give_up(number: int, frame: FrameType | None) -> NoReturn:
        raise TooLong(f"not answered within {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


each_flag = pytest.mark.parametrize(
    "flag", list(flags()), ids=lambda flag: f"{flag.command} {flag.name or flag.field}"
)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer on Windows")
@each_flag
def test_no_value_ends_in_a_traceback(
    flag: Flag, call: Call, run_folder: Path, tmp_path: Path
) -> None:
    faults = []
    for name, value in VALUES.items():
        before, result = picture(tmp_path), None
        try:
            with limited(SECONDS):
                result = call(*arguments(flag, value, run_folder / "run"))
        except AtWork:
            pass
        except BaseException as error:
            faults.append(f"{name}: {type(error).__name__}: {str(error)[:300]}")
        if result is not None and (fault := wrong(result)):
            faults.append(f"{name}: {fault}")
        if flag.name == "--cache-dir":  # what is prepared stays, whatever comes of the command
            continue
        if (result is None or result.code) and (left := changes(before, picture(tmp_path))):
            faults.append(f"{name}: left {left}")
    assert not faults, "\n".join(faults)


@torture
@torture_only
@each_flag
def test_no_value_ends_a_process_in_a_traceback(
    flag: Flag, run_folder: Path, tmp_path: Path
) -> None:
    if flag.command in ("bench", "verify", "serve"):
        pytest.skip("what is accepted runs for minutes, or without end")
    furnish(tmp_path)
    brief = {"train": ["--time-limit", "2"], "forecast": ["--epochs", "1"]}
    faults = []
    for name, value in VALUES.items():
        words = arguments(flag, value, run_folder / "run")
        words[1:1] = [] if flag.name == "--time-limit" else brief.get(flag.command, [])
        if (fault := wrong(command(tmp_path, *words))) is not None:
            faults.append(f"{name}: {fault}")
    assert not faults, "\n".join(faults)


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names of what is new, gone or another."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def wrong(result: Result) -> str | None:
    """Say what is wrong with how a command ended, if anything is."""
    if result.code not in (0, 1, 2):
        return f"exit code {result.code}: {result.err[-300:]}"
    if not result.code:
        return None
    *before, last = result.err.splitlines() or [""]
    remarks = re.compile(r"(note|warning): |\s|\w+ {2,}")  # also the table before training
    if strange := [line for line in before if line and not remarks.match(line)]:
        return f"more than one line: {strange[0][:200]}"
    if not last.startswith("carousel "):
        return f"no line of carousel: {last[:200]!r}"
    if len(last) > LONGEST_LINE:
        return f"a line of {len(last)} characters: {last[:100]}"
    return None
