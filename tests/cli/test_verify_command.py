"""`carousel verify`: what it prints, in three forms, and how it ends."""

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from carousel.verify import table
from carousel.verify.figure import Figure
from carousel.verify.rows import CHECKS, ROWS
from carousel.verify.table import Cell, Check, Row
from cli.commands import Call, caller

GOOD = Figure(3e-16, 1e-12, "dx (seed 3)", 20)
NOT_THERE = Figure(None, where="it has no peepholes")


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    return caller(tmp_path, monkeypatch, capfd)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], Figure]:
    """What the checks find where it is not GOOD; they are not run."""
    found: dict[tuple[str, str], Figure] = {}

    def cells(rows: list[Row], checks: tuple[Check, ...], *, processes: int) -> Iterator[Cell]:
        for row in rows:
            for check in checks:
                yield Cell(row.name, check.name, found.get((row.name, check.name), GOOD))

    monkeypatch.setattr(table, "cells", cells)
    return found


def test_the_table_fits_a_terminal_and_names_every_row_and_column(
    call: Call, figures: dict[tuple[str, str], Figure]
) -> None:
    figures["lstm peephole", "torch.nn float64"] = NOT_THERE
    result = call("verify")
    assert result.code == 0
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in result.out
    rows = lines[3 : 3 + len(ROWS)]
    shown = [row[:16].strip() for row in rows]
    assert shown == ["masked" if ", masked" in row.name else row.name for row in ROWS]
    assert all(row.split()[-7:] == ["3e-16"] * 7 for row in rows if "—" not in row)
    (other,) = (row for row in rows if "—" in row)
    assert other.split() == ["lstm", "peephole", *["3e-16"] * 3, "—", *["3e-16"] * 3]
    for check in CHECKS:
        assert re.search(rf"^{re.escape(check.name)} +\w", result.out, re.MULTILINE)
    assert "does not apply. torch.nn: it has no peepholes\n" in result.out
    assert re.fullmatch(rf"all {len(ROWS) * 7} hold, in \d+ s\n", result.err)


def test_a_failure_is_said_in_one_line_and_is_exit_code_1(
    call: Call, figures: dict[tuple[str, str], Figure]
) -> None:
    figures["gru", "autograd"] = Figure(2e-3, 1e-12, "w_hh (seed 5)", 20)
    figures["gru, masked", "exact"] = Figure(float("inf"), 0.0, "TypeError: no [bold]", 0)
    result = call("verify", "--family", "gru")
    assert result.code == 1
    assert re.fullmatch(
        r"gru: autograd fails: 2\.0e-03, bound 1e-12, at w_hh \(seed 5\)\n"
        r"gru, masked: exact fails: TypeError: no \[bold\]\n"
        r"2 of 28 fail, in \d+ s\n",
        result.err,
    )
    assert "error" in result.out


def test_json(call: Call, figures: dict[tuple[str, str], Figure]) -> None:
    figures["rnn relu", "exact"] = Figure(float("inf"), 0.0, "wrong", 0)
    figures["rnn tanh", "exact"] = NOT_THERE
    result = call("verify", "--json", "--family", "rnn")
    found = json.loads(result.out)
    assert (result.code, found["holds"]) == (1, False)
    cells = {(cell.pop("family"), cell.pop("check")): cell for cell in found["cells"]}
    assert len(cells) == 4 * len(CHECKS)
    good = {"holds": True, "reached": 3e-16, "bound": 1e-12, "cases": 20, "where": "dx (seed 3)"}
    assert cells["rnn tanh", "autograd"] == good
    bad = {"holds": False, "reached": None, "bound": 0.0, "cases": 0, "where": "wrong"}
    assert cells["rnn relu", "exact"] == bad
    assert cells["rnn tanh", "exact"]["holds"]
    assert cells["rnn tanh", "exact"]["bound"] is None


@pytest.mark.parametrize(
    ("reached", "shown"),
    [(3e-16, "≤ 1e-15"), (1e-12, "≤ 1e-12"), (0.02, "≤ 1e-01"), (0.0, "0"), (None, "—")],
)
def test_markdown_rounds_up_to_a_power_of_ten(
    reached: float | None,
    shown: str,
    call: Call,
    figures: dict[tuple[str, str], Figure],
) -> None:
    figures["gru", "causality"] = Figure(reached, 1.0, "somewhere", 1)
    lines = call("verify", "--markdown", "--family", "gru").out.splitlines()
    assert lines[0] == f"| family | {' | '.join(check.name for check in CHECKS)} |"
    assert lines[2] == f"| gru | {'≤ 1e-15 | ' * 6}{shown} |"
    assert lines[3].startswith("| gru, masked | ")


def test_mistakes(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = call("verify", "--family", "diffusion")
    assert (unknown.code, unknown.out) == (2, "")
    assert re.fullmatch(
        r"carousel verify: --family: none begins with 'diffusion'; "
        r"there are rnn tanh, rnn relu, gru, .*lstm layer norm, .*mlp, .*transformer\n",
        unknown.err,
    )
    none = call("verify", "--processes", "0")
    assert none == (2, "", "carousel verify: --processes must be at least 1, got 0\n")
    both = call("verify", "--json", "--markdown")
    assert both == (2, "", "carousel verify: --json and --markdown are two forms; take one\n")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("carousel.cli.verify.find_spec", lambda name: None)
    missing = call("verify")
    said = "carousel verify: this needs sympy: pip install 'carousel-lm[verify]'\n"
    assert missing == (1, "", said)


def test_one_family_in_earnest(call: Call) -> None:
    result = call("verify", "--json", "--family", "rnn tanh", "--processes", "1")
    assert result.code == 0, result.err
    cells = json.loads(result.out)["cells"]
    assert [cell["check"] for cell in cells] == [check.name for check in CHECKS] * 2
    assert all(cell["holds"] and cell["cases"] for cell in cells)
