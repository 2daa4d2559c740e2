"""`carousel bench`: what it writes, what it says, what it refuses."""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

import carousel
from cli.commands import Call, caller

SHAPE = {"T": 3, "B": 2, "D": 4, "H": 8}


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    """The command, measuring two tiny cases, and keeping figures in the test's own folder."""
    call = caller(tmp_path, monkeypatch, capfd)
    assert call("bench", "--list", "--threads", "1").code == 0  # finds the checkout
    from benchmarks import cases, check, machine, session

    def tiny(threads: list[int]) -> list[cases.Case]:
        shape = cases.REFERENCE._replace(**SHAPE)
        ways = ("bptt f32", "nn f32")
        return [
            cases.Case("rnn", task, shape, count, ways, least=5, ours_least=5, seconds=0.1)
            for count in threads
            for task in ("training", "inference")
        ]

    monkeypatch.setattr(cases, "short", tiny)
    monkeypatch.setattr(cases, "long", tiny)
    monkeypatch.setattr(check, "STORED", tmp_path / "stored")
    monkeypatch.setattr(machine, "peak", lambda *_: 100.0)
    monkeypatch.setattr(session, "Nursery", NoNursery)
    return call


class NoNursery(AbstractContextManager["NoNursery"]):
    """Measures no memory, and takes no time for it."""

    def __exit__(self, *_: object) -> None: ...

    def peak(self, *_: object) -> None: ...


def test_figures_and_page_are_written_and_progress_goes_to_stderr(call: Call) -> None:
    result = call("bench", "--short", "--threads", "1", "--out", "found")
    assert result.code == 0, result.err
    assert "[2/2" in result.err
    assert "rnn inference, T3 B2 D4 H8 L1, 1 thread" in result.err
    assert {path.name for path in Path("found").iterdir()} == {"figures.json", "README.md"}
    table = json.loads(Path("found/figures.json").read_text())
    assert [set(row["ways"]) for row in table["results"]] == [{"bptt f32", "nn f32"}] * 2
    assert table["form"] == "short"
    assert Path("found/README.md").read_text().startswith("# Speed and memory")


def test_list_names_the_cases_and_only_chooses_among_them(call: Call) -> None:
    every = call("bench", "--list", "--threads", "1").out.splitlines()
    assert every == [f"rnn {task}, T3 B2 D4 H8 L1, 1 thread" for task in ("training", "inference")]
    assert call("bench", "--list", "--threads", "1", "--only", "inf").out.splitlines() == every[1:]


def test_mistakes(call: Call) -> None:
    assert call("bench", "--threads", "two") == (
        2,
        "",
        "carousel bench: --threads must be whole numbers from 1, with commas, got 'two'\n",
    )
    assert call("bench", "--threads", "0").code == 2
    none = call("bench", "--threads", "1", "--only", "nobody")
    said = "carousel bench: --only: no case's name contains 'nobody'; --list names them all\n"
    assert none == (2, "", said)
    both = call("bench", "--check", "--store")
    said = "carousel bench: --check compares with what --store keeps; take one\n"
    assert both == (2, "", said)
    many = call("bench", "--threads", "100000")
    assert many.code == 2
    assert many.err.splitlines()[-1].startswith("carousel bench: --threads: there are only ")


def test_without_a_checkout_it_says_so(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carousel, "__file__", str(tmp_path / "a/b/carousel/__init__.py"))
    said = "carousel bench: this needs a checkout: benchmarks/ is not part of what is installed\n"
    assert call("bench") == (1, "", said)


def test_ctrl_c_keeps_what_was_measured(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import session

    first = session.measured

    def interrupted(case: Any) -> Any:
        if case.task == "inference":
            raise KeyboardInterrupt
        return first(case)

    monkeypatch.setattr(session, "measured", interrupted)
    assert call("bench", "--threads", "1", "--out", "found").code == 130
    table = json.loads(Path("found/figures.json").read_text())
    assert [row["case"]["task"] for row in table["results"]] == ["training"]
    assert table["note"] == "Interrupted after 1 of 2 cases."
    assert "**Interrupted after 1 of 2 cases.**" in Path("found/README.md").read_text()


def test_the_check_does_not_pass_without_stored_figures(call: Call) -> None:
    result = call("bench", "--check", "--threads", "1")
    assert (result.code, result.out) == (3, "")
    assert result.err.startswith("nothing to compare with: no figures are stored for ")


def test_a_ratio_that_fell_fails_the_check_in_one_line(call: Call) -> None:
    assert call("bench", "--store", "--threads", "1").code == 0
    (path,) = Path("stored").glob("*/figures.json")
    plant(path, "training", 0.05)  # ours was twenty times quicker, it says now
    plant(path, "inference", 20.0)
    result = call("bench", "--check", "--threads", "1")
    assert result.code == 1
    lines = [line for line in result.err.splitlines() if line.startswith("carousel bench: ")]
    assert len(lines) == 1
    assert lines[0].startswith("carousel bench: rnn training, T3 B2 D4 H8 L1, 1 thread: bptt f32")
    assert "measured once more" in result.err
    plant(path, "training", 400.0)
    result = call("bench", "--check", "--threads", "1")
    assert (result.code, result.out) == (0, "2 ratios, none more than 20 % slower than stored\n")


def test_a_fall_that_is_not_seen_twice_is_no_slowdown(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import session

    assert call("bench", "--store", "--threads", "1").code == 0
    (path,) = Path("stored").glob("*/figures.json")
    plant(path, "training", 20.0)
    plant(path, "inference", 20.0)
    usual, seen = session.measured, []

    def disturbed(case: Any) -> Any:
        """Only the first of all is slow: a thousand times."""
        result = usual(case)
        if not seen:
            result.ways["bptt f32"].ms = [1e3 * ms for ms in result.ways["bptt f32"].ms]
        seen.append(case.task)
        return result

    monkeypatch.setattr(session, "measured", disturbed)
    result = call("bench", "--check", "--threads", "1")
    assert result.code == 0, result.err
    assert seen == ["training", "inference", "training"]


def plant(path: Path, task: str, factor: float) -> None:
    """Multiply what is stored of our times in one case."""
    table = json.loads(path.read_text())
    for row in table["results"]:
        if row["case"]["task"] == task:
            ms = row["ways"]["bptt f32"]["ms"]
            row["ways"]["bptt f32"]["ms"] = [factor * each for each in ms]
    path.write_text(json.dumps(table))
