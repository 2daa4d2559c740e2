"""`carousel verify`: what it prints, in three forms, and how it ends."""

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from carousel.kernels import fused
from carousel.verify import table
from carousel.verify.check_result import CheckResult
from carousel.verify.rows import CHECKS, TABLES
from carousel.verify.table import Cell, Table
from cli.commands import Call, caller

GOOD = CheckResult(3e-16, 1e-12, "dx (seed 3)", 20)
NOT_THERE = CheckResult(None, where="it has no peepholes")
NOT_RUN = CheckResult(None, where="CAROUSEL_KERNELS=off", is_not_run=True)
CELLS = sum(len(one.rows) * len(one.checks) for one in TABLES)


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Call:
    return caller(tmp_path, monkeypatch, capfd)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], CheckResult]:
    """What the checks find where it is not GOOD; they are not run."""
    found: dict[tuple[str, str], CheckResult] = {}

    def cells(tables: list[Table], *, processes: int) -> Iterator[Cell]:
        for one in tables:
            for row in one.rows:
                for check in one.checks:
                    yield Cell(row.name, check.name, found.get((row.name, check.name), GOOD))

    monkeypatch.setenv("CAROUSEL_KERNELS", "off")  # nothing is compiled for what is not run
    monkeypatch.setattr(table, "cells", cells)
    return found


def test_the_table_fits_a_terminal_and_names_every_row_and_column(
    call: Call, figures: dict[tuple[str, str], CheckResult]
) -> None:
    figures["lstm peephole", "torch.nn float64"] = NOT_THERE
    result = call("verify")
    assert result.code == 0
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in result.out
    headings = [k for k, line in enumerate(lines) if line.startswith(("family ", "kernel "))]
    assert len(headings) == len(TABLES)
    for one, heading in zip(TABLES, headings, strict=True):
        number = len(one.checks)
        rows = lines[heading + 2 : heading + 2 + len(one.rows)]
        shown = [row[:16].strip() for row in rows]
        assert shown == [row.name.removeprefix("kernel ").rpartition(", ")[2] for row in one.rows]
        assert all(row.split()[-number:] == ["3e-16"] * number for row in rows if "—" not in row)
        for check in one.checks:
            assert re.search(rf"^{re.escape(check.name)} +[\w=]", result.out, re.MULTILINE)
    (other,) = (line for line in lines if line.endswith("3e-16") and "—" in line)
    assert other.split() == ["lstm", "peephole", *["3e-16"] * 3, "—", *["3e-16"] * 3]
    assert "does not apply. torch.nn: it has no peepholes\n" in result.out
    assert re.fullmatch(rf"all {CELLS - 1} hold, in \d+ s\n", result.err)


def test_what_was_not_run_is_no_pass_and_no_failure(
    call: Call, figures: dict[tuple[str, str], CheckResult]
) -> None:
    for row in TABLES[1].rows:
        figures.update({(row.name, check.name): NOT_RUN for check in TABLES[1].checks})
    result = call("verify", "--family", "rnn relu")
    assert result.code == 0
    assert len(re.findall(r" not run\b", result.out)) == 3 * 6
    assert re.search(r"^not run +CAROUSEL_KERNELS=off$", result.out, re.MULTILINE)
    assert re.fullmatch(r"all 14 hold; 18 not run: CAROUSEL_KERNELS=off, in \d+ s\n", result.err)
    lines = call("verify", "--markdown", "--family", "kernel gru").out.splitlines()
    assert f"| gru | {' | '.join(['not run'] * 6)} |" in lines
    found = json.loads(call("verify", "--json", "--family", "kernel lstm").out)
    assert found["holds"]
    assert all(cell["holds"] is None and cell["reached"] is None for cell in found["cells"])
    assert {cell["where"] for cell in found["cells"]} == {"CAROUSEL_KERNELS=off"}


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("mlp", ["mlp"]),
        (
            "rnn relu",
            ["rnn relu", "rnn relu, masked"]
            + [f"kernel rnn relu{use}" for use in ("", ", packed", ", from ids")],
        ),
        ("kernel gru, p", ["kernel gru, packed"]),
        ("kernel", [row.name for row in TABLES[1].rows]),
    ],
)
def test_a_family_is_chosen_with_its_kernels(
    family: str, names: list[str], call: Call, figures: dict[tuple[str, str], CheckResult]
) -> None:
    cells = json.loads(call("verify", "--json", "--family", family).out)["cells"]
    assert list(dict.fromkeys(cell["family"] for cell in cells)) == names


def test_a_failure_is_said_in_one_line_and_is_exit_code_1(
    call: Call, figures: dict[tuple[str, str], CheckResult]
) -> None:
    figures["gru", "autograd"] = CheckResult(2e-3, 1e-12, "w_hh (seed 5)", 20)
    figures["gru, masked", "exact"] = CheckResult(float("inf"), 0.0, "TypeError: no [bold]", 0)
    result = call("verify", "--family", "gru")
    assert result.code == 1
    assert re.fullmatch(
        r"gru: autograd fails: 2\.0e-03, bound 1e-12, at w_hh \(seed 5\)\n"
        r"gru, masked: exact fails: TypeError: no \[bold\]\n"
        r"2 of 71 fail, in \d+ s\n",
        result.err,
    )
    assert "error" in result.out


def test_json(call: Call, figures: dict[tuple[str, str], CheckResult]) -> None:
    figures["rnn relu", "exact"] = CheckResult(float("inf"), 0.0, "wrong", 0)
    figures["rnn tanh", "exact"] = NOT_THERE
    result = call("verify", "--json", "--family", "rnn")
    found = json.loads(result.out)
    assert (result.code, found["holds"]) == (1, False)
    cells = {(cell.pop("family"), cell.pop("check")): cell for cell in found["cells"]}
    assert len(cells) == 5 * len(CHECKS) + 6 * len(TABLES[1].checks)
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
    figures: dict[tuple[str, str], CheckResult],
) -> None:
    figures["gru", "causality"] = CheckResult(reached, 1.0, "somewhere", 1)
    lines = call("verify", "--markdown", "--family", "gru").out.splitlines()
    assert lines[0] == f"| family | {' | '.join(check.name for check in CHECKS)} |"
    assert lines[2] == f"| gru | {'≤ 1e-15 | ' * 6}{shown} |"
    assert lines[3].startswith("| gru, masked | ")


def test_mistakes(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = call("verify", "--family", "diffusion")
    assert (unknown.code, unknown.out) == (2, "")
    assert re.fullmatch(
        r"carousel verify: --family: none begins with 'diffusion'; "
        r"there are rnn tanh, rnn relu, gru, .*lstm layer norm, .*mlp, .*transformer, "
        r"kernel rnn tanh, .*kernel lstm, .*kernel writing\n",
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
    result = call("verify", "--json", "--family", "rnn tanh, f", "--processes", "1")
    assert result.code == 0, result.err
    cells = json.loads(result.out)["cells"]
    names = [[check.name for check in one.checks] for one in TABLES]
    assert [cell["check"] for cell in cells] == names[0] + names[1]
    assert all(cell["holds"] and cell["cases"] for cell in cells if cell["holds"] is not None)
    unrun = [cell for cell in cells if cell["holds"] is None]
    lacking = {torch.float32: names[1], torch.bfloat16: ["bfloat16"]}
    want = [
        check
        for product, of in lacking.items()
        if fused.unavailable_reason(product)
        for check in of
    ]
    assert {cell["check"] for cell in unrun} == {*want}
