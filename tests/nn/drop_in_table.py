"""docs/drop_in.md as tables, its verdicts, and what each asks of a check.

As a program it runs the cells of some rows, without the checker of shapes that the tests install:
strict export cannot trace through it, torch.compile is slow to, and sizes that torch.jit.trace
follows are no ints to it.
"""

import json
import math
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from drop_in_autograd import ROWS as AUTOGRAD
from drop_in_checks import NAMES, Check, Pair, inputs, pair
from drop_in_forms import MASKS, RECURRENT
from drop_in_modules import ROWS as MODULES
from drop_in_tracers import ROWS as TRACERS
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

PAGE = Path(__file__).parents[2] / "docs" / "drop_in.md"
VERDICTS = ("same", "same numbers", "more", "refused")
WITHOUT_CHECKER = (
    "`export(strict=True)`",
    "`jit.trace`, saved and loaded",
    "`jit.trace`, gradients",
    "`compile` of a function",
    "`Module.compile`",
)


class Row(NamedTuple):
    """A check, the layers it is for, and how they are made."""

    check: Check
    layers: tuple[str, ...] = NAMES
    options: MappingProxyType[str, Any] = MappingProxyType({})


CHECKS: dict[str, Row] = {
    **{name: Row(check) for name, check in (AUTOGRAD | TRACERS | MODULES).items()},
    **{
        name: Row(check, NAMES[:3], MappingProxyType(options))
        for name, (check, options) in RECURRENT.items()
    },
    **{name: Row(check, NAMES[-1:]) for name, check in MASKS.items()},
}


class Cell(NamedTuple):
    """One cell of the page, and the advice that its row ends with."""

    tool: str
    layer: str
    verdict: str
    advice: str


def cells(text: str) -> Iterator[Cell]:
    """Read all tables whose first column is "tool": one cell for each layer of their head."""
    head: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            head = []
            continue
        columns = [column.strip() for column in line.strip("|").split("|")]
        if not head:
            head = columns
        elif head[0] == "tool" and not set(columns[0]) <= {"-", ":"}:
            for layer, verdict in zip(head[1:-1], columns[1:-1], strict=True):
                yield Cell(columns[0], layer, verdict, columns[-1].strip("`"))


def tolerance(tool: str) -> float:
    """The relative error that the precision of a row allows."""
    if "bfloat16" in tool:
        return 0.02
    return 0.005 if "float16" in tool or "half" in tool else 1e-4


def found_by_namesake(row: Row, layer: str) -> Any:
    """What torch's layer gives; in double precision, where it has no other code."""
    try:
        return row.check(pair(layer, **row.options).theirs, inputs(layer))
    except (RuntimeError, NotImplementedError):
        return in_double(row, layer, ours=False)


def in_double(row: Row, layer: str, *, ours: bool) -> Any:
    both: Pair = pair(layer, **row.options)
    module = (both.ours if ours else both.theirs).double()
    found = row.check(module, inputs(layer, torch.float64))
    return tree_map(
        lambda t: t.float() if isinstance(t, Tensor) and t.dtype == torch.float64 else t, found
    )


def assert_same(got: Any, want: Any, bound: float, *, is_type_free: bool = False) -> None:
    """Compare what two layers gave: structure, types, and numbers by the norm of each tensor."""
    ours, theirs = tree_leaves(got), tree_leaves(want)
    assert len(ours) == len(theirs)
    for actual, expected in zip(ours, theirs, strict=True):
        if not isinstance(expected, Tensor):
            assert actual == expected
            continue
        assert actual.shape == expected.shape
        assert is_type_free or actual.dtype == expected.dtype
        error = (actual.detach().double() - expected.detach().double()).norm().item()
        scale = expected.detach().double().norm().item()
        assert math.isfinite(error)
        assert error <= bound * scale, f"off by {error:.1e} of {scale:.1e}"


def hold(cell: Cell) -> None:
    """Run the check of a cell, and assert its verdict."""
    row = CHECKS[cell.tool]
    ours = pair(cell.layer, **row.options).ours
    if cell.verdict == "refused":
        message = refusal(row.check, ours, cell.layer)
        assert cell.advice
        assert cell.advice in message
        assert "\n" not in message
        return
    got = row.check(ours, inputs(cell.layer))
    if cell.verdict == "more":
        assert_same(got, in_double(row, cell.layer, ours=True), 1e-4)
        return
    want = found_by_namesake(row, cell.layer)
    assert_same(got, want, tolerance(cell.tool), is_type_free=cell.verdict == "same numbers")


def refusal(check: Check, layer: torch.nn.Module, name: str) -> str:
    """The message with which a check is refused."""
    try:
        check(layer, inputs(name))
    except (RuntimeError, ValueError, TypeError) as error:
        return str(error)
    raise AssertionError("it is not refused")


def failures(tools: tuple[str, ...]) -> dict[str, str]:
    """Run all cells of some rows; what is wrong with each, "" where nothing is."""
    found = {}
    for cell in cells(PAGE.read_text(encoding="utf-8")):
        if cell.tool in tools:
            torch.compiler.reset()
            try:
                hold(cell)
                found[f"{cell.tool}, {cell.layer}"] = ""
            except Exception as error:
                found[f"{cell.tool}, {cell.layer}"] = f"{type(error).__name__}: {error}"
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    json.dump(failures(tuple(sys.argv[1:])), sys.stdout)
