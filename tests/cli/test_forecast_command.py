"""`carousel forecast`: from a CSV file to figures, files and a verdict; a mistake is one line."""

import csv
import datetime
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carousel.forecasting.metrics import accuracy
from cli.commands import Call, caller

N, SEASON = 90, 6
BRIEF = ("--model", "gru", "--embedding-size", "4", "--hidden-size", "6", "--window", "7")
TWO = ("--epochs", "2", *BRIEF)
FILES = {"forecast.csv", "forecast.json", "forecast.png", "forecast.svg"}


def values() -> list[float]:
    """A season, noise, and a slope."""
    rng, time = np.random.default_rng(0), np.arange(N)
    wave = 20 * np.sin(2 * np.pi * time / SEASON) + 0.1 * time + rng.normal(size=N)
    return [round(value, 3) for value in (200 + wave).tolist()]


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    rows = [f"day {k},{value},7" for k, value in enumerate(values())]
    (tmp_path / "tides.csv").write_text("\n".join(["day,metres,station", *rows, ""]))
    return caller(tmp_path, monkeypatch, capfd)


def read(path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(Path(path).read_text(encoding="utf-8"))))


def column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in rows])


def forecast(call: Call, *flags: str) -> dict[str, Any]:
    result = call("forecast", "tides.csv", "--column", "metres", *flags, "--json")
    assert result.code == 0, result.err
    facts: dict[str, Any] = json.loads(result.out)
    return facts


def test_the_table_goes_to_stdout_and_the_rest_to_stderr(call: Call) -> None:
    result = call("forecast", "tides.csv", "--column", "metres", *TWO)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].split() == ["test", "part,", "14", "rows", "MAE", "RMSE", "MASE"]
    names = [line[:20].strip() for line in lines[2:7]]
    assert names == ["gru", "last value", "drift", "seasonal value (6)", "seasonal change (6)"]
    assert "gru is worse than" in result.out, "after two epochs"
    assert lines[-1] == (
        "MAE and RMSE are in the units of metres; each value from day 76 on is forecast from the "
        "true ones before it."
    )
    assert "series   tides.csv: 90 values of metres, from day 0 to day 89\n" in result.err
    assert "parts    63 train, 13 validation, 14 test\n" in result.err
    assert "season   6 rows, as the training part suggests; --season names another" in result.err
    assert {path.name for path in Path("runs/tides").iterdir()} == FILES


def test_the_files_hold_what_was_found(call: Call) -> None:
    facts = forecast(call, *TWO, "--ahead", "3", "--out", "out")
    assert json.loads(Path("out/forecast.json").read_text(encoding="utf-8")) == facts
    rows = read("out/forecast.csv")
    assert [row["part"] for row in rows] == ["validation"] * 13 + ["test"] * 14 + ["ahead"] * 3
    assert [row["row"] for row in rows[:27]] == [f"day {k}" for k in range(63, 90)]
    np.testing.assert_array_equal(column(rows[:27], "truth"), values()[63:])
    test, ahead = rows[13:27], rows[27:]
    assert [(row["row"], row["truth"], row["drift"]) for row in ahead] == [
        (f"+{k}", "", "") for k in (1, 2, 3)
    ]
    np.testing.assert_array_equal(column(ahead, "forecast"), facts["ahead"])
    expected = {
        "last value": values()[75:-1],
        "seasonal value (6)": values()[70:-6],
    }
    for name, forecasts in expected.items():
        np.testing.assert_array_equal(column(test, name), forecasts)
    judged = {name: errors["test"] for name, errors in facts["baselines"].items()}
    judged["forecast"] = facts["fits"][0]["test"]
    for name, errors in judged.items():
        again = accuracy(column(test, "truth"), column(test, name), np.array(values()[:63]))
        assert errors == pytest.approx(again._asdict(), rel=1e-12), name
    verdict = facts["against_the_best_baseline"]["rmse"]
    best = min(judged.keys() - {"forecast"}, key=lambda name: judged[name]["rmse"])
    assert verdict["baseline"] == best
    ratio = judged["forecast"]["rmse"] / judged[best]["rmse"] - 1
    assert verdict["excess"] == pytest.approx(ratio)


def test_the_same_seed_gives_the_same_bytes(call: Call) -> None:
    for name in ("a", "b"):
        forecast(call, *TWO, "--dropout", "0.2", "--seed", "5", "--out", name)
    for file in FILES:
        assert Path("a", file).read_bytes() == Path("b", file).read_bytes(), file
    forecast(call, *TWO, "--dropout", "0.2", "--seed", "6", "--out", "c")
    assert read("c/forecast.csv") != read("a/forecast.csv")


def test_several_seeds_are_fits_of_their_own(call: Call) -> None:
    facts = forecast(call, *TWO, "--seeds", "3", "--seed", "4", "--out", "all")
    alone = forecast(call, *TWO, "--seed", "5", "--out", "alone")
    assert [fit["seed"] for fit in facts["fits"]] == [4, 5, 6]
    assert facts["fits"][1] == alone["fits"][0]
    rows = read("all/forecast.csv")
    assert [row["seed 5"] for row in rows] == [
        row["forecast"] for row in read("alone/forecast.csv")
    ]
    assert [row["forecast"] for row in rows] == [
        row[f"seed {facts['chosen_seed']}"] for row in rows
    ]
    best = min(facts["fits"], key=lambda fit: fit["validation"]["rmse"])
    assert facts["chosen_seed"] == best["seed"], "chosen by the validation part"
    result = call("forecast", "tides.csv", "--column", "metres", *TWO, "--seeds", "3")
    assert "gru, 3 seeds" in result.out
    assert result.out.count(" ± ") == 3
    assert "of 3 seeds below; RMSE" in result.out


def test_nothing_of_the_test_part_decides_anything(call: Call, tmp_path: Path) -> None:
    """Neither weights, nor the end of training, nor the season, nor which seed is shown."""
    rows = (tmp_path / "tides.csv").read_text().splitlines()
    other = [*rows[:77], *(f"day {k},{1000 * (k % 2)},7" for k in range(76, 90))]
    (tmp_path / "other.csv").write_text("\n".join(other))
    flags = ("--column", "metres", *TWO, "--epochs", "6", "--patience", "2", "--seeds", "2")
    for name in ("tides", "other"):
        assert call("forecast", f"{name}.csv", *flags, "--out", name).code == 0
    ours, others = (read(f"{name}/forecast.csv") for name in ("tides", "other"))
    assert ours[:13] == others[:13]
    one, two = (json.loads(Path(n, "forecast.json").read_bytes()) for n in ("tides", "other"))
    for key in ("scaling", "season", "chosen_seed"):
        assert one[key] == two[key], key
    for fit, same in zip(one["fits"], two["fits"], strict=True):
        assert fit["best_epoch"] == same["best_epoch"]
        assert fit["validation"] == same["validation"]
        assert fit["test"] != same["test"]


def test_a_season_is_learned_better_than_the_last_value(call: Call) -> None:
    flags = ("--epochs", "40", "--learning-rate", "0.02", "--batch-size", "8", *BRIEF)
    for target in ("value", "change"):
        facts = forecast(call, *flags, "--target", target, "--out", target)
        last = facts["baselines"]["last value"]["test"]["mae"]
        assert facts["fits"][0]["test"]["mae"] < 0.4 * last, target


def test_logarithms_are_undone(call: Call) -> None:
    facts = forecast(call, *TWO, "--log", "--target", "value")
    forecasts = column(read("runs/tides/forecast.csv"), "forecast")
    assert facts["scaling"]["mean"] == pytest.approx(np.log(values()[:63]).mean())
    assert 150 < forecasts.min() <= forecasts.max() < 250


@pytest.mark.parametrize("kind", ["rnn", "lstm", "mlp", "transformer"])
def test_every_family_forecasts(call: Call, kind: str) -> None:
    flags = ("--model", kind, "--embedding-size", "8", "--epochs", "1", "--window", "7")
    assert forecast(call, *flags, "--hidden-size", "6")["model"]["model"] == kind


def test_the_default_column_is_the_last_of_numbers(call: Call) -> None:
    result = call("forecast", "tides.csv", *TWO)
    message = "all 62 changes of the training part are 0, as far as numbers of this size can tell"
    choice = (
        "column station, the last of the columns of numbers (metres, station); "
        "--column names another"
    )
    assert result == (
        1,
        "",
        f"carousel forecast: {message}: there is nothing to learn ({choice})\n",
    )


def test_a_table_with_its_newest_row_first_is_forecast_from_the_newest(
    call: Call, tmp_path: Path
) -> None:
    start, day = datetime.date(2024, 1, 1), datetime.timedelta(days=1)
    rows = [
        f"{start + k * day:%d.%m.%Y};{k};{str(value).replace('.', ',')}"
        for k, value in enumerate(values())
    ]
    for name, body in (("up", rows), ("down", rows[::-1])):
        text = "\n".join(["sep=;", "Datum;Nr;Wert", *body, "Summe;;18000", ""])
        (tmp_path / f"{name}.csv").write_text(text)
    ahead, notes = {}, {}
    for name in ("up", "down"):
        result = call("forecast", f"{name}.csv", *TWO, "--json")
        assert result.code == 0, result.err
        facts = json.loads(result.out)
        ahead[name], notes[name] = facts["ahead"], facts["notes"]
        assert (facts["column"], facts["rows"]) == ("Wert", N)
        assert facts["order"] == {"up": "file", "down": "reversed"}[name]
        for topic, note in facts["notes"].items():
            assert f"{topic:<8} {note}\n" in result.err
    assert ahead["up"] == ahead["down"]
    assert set(notes["up"]) == {"numbers", "rows"}
    assert notes["down"]["order"] == (
        "the newest row stands first in down.csv (Datum: 30.03.2024 on line 3, 01.01.2024 on line "
        "92), so the rows are taken in reverse; --order file takes them as they stand"
    )
    as_it_stands = call("forecast", "down.csv", *TWO, "--json", "--order", "file")
    assert json.loads(as_it_stands.out)["ahead"] != ahead["down"]


def test_a_series_without_a_season_says_so(call: Call, tmp_path: Path) -> None:
    noise = np.random.default_rng(3).normal(size=N).tolist()
    (tmp_path / "noise.csv").write_text("\n".join(map(str, noise)))
    result = call("forecast", "noise.csv", *TWO, "--ahead", "0")
    assert result.code == 0, result.err
    assert "season   the training part shows none; --season names one\n" in result.err
    assert "seasonal" not in result.out
    assert result.out.endswith("from 77 on is forecast from the true ones before it.\n")
    named = call("forecast", "noise.csv", *TWO, "--season", "9")
    assert "seasonal value (9)" in named.out


def test_stdin_is_read(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "tides.csv").open(encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdin", file)
        result = call("forecast", "-", "--column", "metres", *TWO)
    assert result.code == 0, result.err
    assert "series   stdin: 90 values of metres" in result.err
    assert Path("runs/stdin/forecast.csv").is_file()


def test_a_second_run_has_a_name_of_its_own(call: Call) -> None:
    for _ in range(2):
        forecast(call, *TWO)
    assert sorted(path.name for path in Path("runs").iterdir()) == ["tides", "tides-2"]


def test_a_disk_that_refuses_takes_away_no_figures(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "runs/tides")

    monkeypatch.setattr("carousel.inspection.forecasts.forecast_plot", refuse)
    result = call("forecast", "tides.csv", "--column", "metres", *TWO)
    assert result.code == 1
    assert "gru is worse than" in result.out
    assert result.err.endswith("carousel forecast: No space left on device: runs/tides\n")
    assert not Path("runs").exists()  # it was made for the figures alone


MISTAKES: dict[str, tuple[list[str], int, str]] = {
    "wrong path": (["nowhere.csv"], 1, "no such file: nowhere.csv"),
    "a folder": (["."], 1, ". is a folder: name a CSV file"),
    "empty file": (["empty.csv"], 1, "empty.csv is empty"),
    "missing value": (["gap.csv"], 1, "line 4 of gap.csv, n: the value is missing"),
    "no number": (["words.csv"], 1, "line 3 of words.csv, n: 'x' is not a number such as 1234.5"),
    "not UTF-8": (
        ["latin.csv"],
        1,
        "latin.csv is not UTF-8: byte 0xe9 at offset 0; --encoding NAME reads another encoding",
    ),
    "too few rows": (
        ["few.csv"],
        1,
        "the series has 5 values, too few to train, validate and test",
    ),
    "window too long": (
        ["tides.csv", "--column", "metres", "--window", "61"],
        1,
        "the series has 90 values, 63 of them to train on: the longest --window is 60, got 61",
    ),
    "no such column": (
        ["tides.csv", "--column", "depth"],
        2,
        "tides.csv has no column 'depth'; there are day, metres, station or 1 to 3",
    ),
    "logarithm of a negative": (
        ["negative.csv", "--log"],
        1,
        "line 3 of negative.csv, n: -1 has no logarithm; the series can be forecast without --log",
    ),
    "season too long": (
        ["tides.csv", "--column", "metres", "--season", "63"],
        2,
        "season must be from 2 to 62, one less than the training part has values, got 63",
    ),
    "no season": (
        ["tides.csv", "--column", "metres", "--season", "0"],
        2,
        "season must be from 2 to 62, one less than the training part has values, got 0",
    ),
    "no window": (
        ["tides.csv", "--window", "0"],
        2,
        "window must be a whole number, at least 1, got 0",
    ),
    "no seeds": (
        ["tides.csv", "--seeds", "0"],
        2,
        "seeds must be a whole number, at least 1, at most 1,000, got 0",
    ),
    "backwards": (
        ["tides.csv", "--ahead", "-1"],
        2,
        "ahead must be a whole number, at least 0, at most 100,000, got -1",
    ),
    "far beyond the end": (
        ["tides.csv", "--ahead", "100001"],
        2,
        "ahead must be a whole number, at least 0, at most 100,000, got 100001",
    ),
    "a number of a column with thousands of digits": (
        ["tides.csv", "--column", "7" * 5000],
        2,
        "tides.csv has no column '777",
    ),
    "a model beyond the memory": (
        ["tides.csv", "--column", "metres", "--hidden-size", "1000000"],
        2,
        "a model of 4,000,",
    ),
    "unknown target": (
        ["tides.csv", "--target", "trend"],
        2,
        "invalid choice 'trend' for argument '--target'",
    ),
    "unknown order": (
        ["tides.csv", "--order", "up"],
        2,
        "invalid choice 'up' for argument '--order'",
    ),
    "two meanings": (
        ["two.csv"],
        1,
        "line 2 of two.csv, n: '1,234' may be 1234 or 1.234: --decimal point says the first, "
        "--decimal comma the second",
    ),
    "a workbook": (
        ["book.csv"],
        1,
        "book.csv looks like a zip archive, as .docx, .xlsx, .odt and .epub files are: save its "
        "table as CSV first",
    ),
    "unknown encoding": (
        ["tides.csv", "--encoding", "klingon"],
        2,
        "encoding must be one that Python knows, got 'klingon'",
    ),
    "tied weights": (
        ["tides.csv", "--column", "metres", "--tie-weights", "--embedding-size", "32"],
        2,
        "tie_weights is for language models: here outputs are no tokens",
    ),
    "folder taken": (
        ["tides.csv", "--out", "taken"],
        1,
        "--out taken is there already; name another folder",
    ),
    "folder in a file": (["tides.csv", "--out", "empty.csv/a/b"], 1, "--out empty.csv/a/b: "),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(tmp_path: Path, call: Call, name: str) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "gap.csv").write_text("day,n\n1,2\n2,3\n3,\n4,5\n")
    (tmp_path / "words.csv").write_text("day,n\n1,2\n2,x\n3,4\n4,5\n")
    (tmp_path / "latin.csv").write_bytes(b"\xe9t\xe9,n\n1,2\n")
    (tmp_path / "two.csv").write_text("day;n\nmon;1,234\ntue;2,345\n")
    (tmp_path / "book.csv").write_bytes(b"PK\x03\x04" + b"\0" * 99)
    (tmp_path / "few.csv").write_text("n\n1\n2\n3\n1\n2\n")
    (tmp_path / "negative.csv").write_text("n\n1\n-1\n" + "2\n3\n1\n" * 20)
    before = set(tmp_path.rglob("*"))
    arguments, code, message = MISTAKES[name]
    result = call("forecast", *arguments)
    assert result.err.startswith(f"carousel forecast: {message}"), result.err
    assert (result.code, result.out, result.err.count("\n")) == (code, "", 1)
    assert set(tmp_path.rglob("*")) == before
