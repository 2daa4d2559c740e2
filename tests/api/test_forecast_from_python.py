"""`carousel.forecast`: the command's results as a call."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import carousel
from carousel.errors import ConfigError, DataError, RunError
from cli.commands import caller

WAVE = [math.sin(t / 3) + 0.01 * t for t in range(160)]
BRIEF = {"epochs": 2, "window": 8, "hidden_size": 5, "ahead": 4}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "wave.csv"
    path.write_text("day,height\n" + "".join(f"{t + 1},{v}\n" for t, v in enumerate(WAVE)))
    return path


def test_it_is_what_the_command_computes(
    table: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    call = caller(table.parent, monkeypatch, capfd)
    report = carousel.forecast(table, column="height", model="gru", seeds=2, **BRIEF)
    flags = [part for k, v in BRIEF.items() for part in (f"--{k.replace('_', '-')}", str(v))]
    command = ["wave.csv", "--column", "height", "--model", "gru", "--seeds", "2", "--json"]
    result = call("forecast", *command, *flags)
    assert result.code == 0
    assert json.loads(result.out) == json.loads(json.dumps(report.facts()))
    assert Path("runs/wave/forecast.csv").read_text() == report.table()


def test_numbers_are_a_series_and_nothing_is_written_unasked(table: Path) -> None:
    before = sorted(table.parent.iterdir())
    report = carousel.forecast(np.array(WAVE, np.float32), **BRIEF)
    assert len(report.ahead) == 4
    assert report.table().count("\n") == 1 + 2 * 24 + 4
    assert report.verdict.startswith("lstm is ")
    assert sorted(table.parent.iterdir()) == before


def test_a_folder_gets_the_files_and_a_taken_one_is_refused(table: Path) -> None:
    carousel.forecast(WAVE, out="here", **BRIEF)
    names = ["forecast.csv", "forecast.json", "forecast.png", "forecast.svg"]
    assert sorted(path.name for path in Path("here").iterdir()) == names
    with pytest.raises(RunError, match="out: here is there already; name another folder"):
        carousel.forecast(WAVE, out="here", **BRIEF)
    report = carousel.forecast(WAVE, **BRIEF)
    with pytest.raises(RunError, match="here is there already; name another folder"):
        report.save("here")


def test_progress_is_told_of_every_epoch() -> None:
    seen = []
    carousel.forecast(
        WAVE, progress=lambda seed, epoch: seen.append((seed, epoch.number)), seeds=2, **BRIEF
    )
    assert seen == [(0, 1), (0, 2), (1, 1), (1, 2)]


@pytest.mark.parametrize(
    ("data", "settings", "error", "message"),
    [
        (WAVE, {"windw": 8}, ConfigError, "forecast has no setting named windw; perhaps you meant"),
        (WAVE, {"horizon": 4}, ConfigError, "no setting named horizon; perhaps you meant ahead"),
        (WAVE, {"window": 0}, ConfigError, "window must be a whole number, at least 1, got 0"),
        (WAVE, {"window": 300}, DataError, "the longest window is "),
        (WAVE, {"season": 1}, ConfigError, "season must be from 2 to"),
        (WAVE, {"seed": 2**64 - 1, "seeds": 2}, ConfigError, r"seed \+ seeds must be at most"),
        (WAVE, {"model": "lstn"}, ConfigError, "model must be one of"),
        (WAVE, {"peephole": 3}, ConfigError, "peephole must be true or false, got 3"),
        (WAVE, {"model": carousel.ModelConfig(), "hidden_size": 3}, ConfigError, "hidden_size st"),
        ([1.0, math.nan, 2.0], {}, DataError, "data must be finite numbers, and number 2 is nan"),
        ([[1.0, 2.0]], {}, DataError, "data must be one-dimensional, got the shape"),
        (["a"], {}, DataError, "data must be a path or numbers, got list"),
        ("nowhere.csv", {}, DataError, "no such file: nowhere.csv"),
        ([5.0] * 100, {}, DataError, "there is nothing to learn"),
    ],
)
def test_a_mistake_is_named_in_pythons_words(
    data: object, settings: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        carousel.forecast(data, **settings)  # type: ignore[arg-type]
