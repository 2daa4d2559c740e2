"""Every cell of docs/drop_in.md is a test: what torch's tools do around our layers."""

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator

import drop_in_table
import pytest
from drop_in_checks import NAMES
from drop_in_table import CHECKS, PAGE, VERDICTS, WITHOUT_CHECKER, Cell, cells, hold

CELLS = list(cells(PAGE.read_text(encoding="utf-8")))


def test_every_row_has_a_check_and_every_check_a_row() -> None:
    listed = [(cell.tool, cell.layer) for cell in CELLS]
    assert len(listed) == len(set(listed))
    assert set(listed) == {(tool, layer) for tool, row in CHECKS.items() for layer in row.layers}
    assert {cell.layer for cell in CELLS} == set(NAMES)
    assert {cell.verdict for cell in CELLS} == set(VERDICTS)


def test_the_reader_of_the_table() -> None:
    page = "| tool | RNN | GRU | use |\n|---|---|---|---|\n| a `b` | same | refused | `c` |"
    want = [Cell("a `b`", "RNN", "same", "c"), Cell("a `b`", "GRU", "refused", "c")]
    assert list(cells(f"text\n\n| other | x |\n|---|---|\n| y | z |\n\n{page}\n")) == want


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_wrong_verdict_is_seen(verdict: str) -> None:
    refused = Cell("double backward", "GRUCell", verdict, "carousel.backend('autograd')")
    same = Cell("backward", "GRUCell", verdict, "use another")
    wrong = [refused] if verdict != "refused" else [same, refused._replace(advice="nothing")]
    for cell in wrong:
        with pytest.raises((AssertionError, RuntimeError)):
            hold(cell)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize(
    "cell",
    [cell for cell in CELLS if cell.tool not in WITHOUT_CHECKER],
    ids=lambda cell: f"{cell.tool}, {cell.layer}",
)
def test_a_cell_holds(cell: Cell) -> None:
    hold(cell)


def test_cells_hold_without_the_checker_of_shapes() -> None:
    program = [sys.executable, "-W", "ignore", drop_in_table.__file__, *WITHOUT_CHECKER]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert len(found) == len(WITHOUT_CHECKER) * len(NAMES)
    assert {cell: wrong for cell, wrong in found.items() if wrong} == {}
