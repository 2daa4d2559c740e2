"""`carousel verify`: the proof that equations, hand-derived gradients and layers agree."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from carousel.cli.console import can_redraw, clock, console, duration
from carousel.cli.parse import parse
from carousel.cli.progress import VisibleProgress
from carousel.errors import RunError, UsageError

if TYPE_CHECKING:
    from carousel.verify.table import Cell, Table


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Check every family: exactly, numerically, and against torch.nn. About a minute.

    Attributes:
        family: Only rows whose name begins so: rnn, gru, lstm, "lstm peephole", mlp, attention, …;
            kernel: only the kernels.
        processes: How many compute side by side.
        json: Print one JSON object.
        markdown: Print the table as Markdown, figures rounded up to a power of ten.
    """

    family: str = ""
    processes: int = 2
    json: bool = False
    markdown: bool = False


def main(arguments: list[str]) -> int:
    """Check, print the table to stdout, and return 1 where anything fails."""
    command = parse(Verify, arguments, prog="carousel verify")
    if command.processes < 1:
        raise UsageError(f"--processes must be at least 1, got {command.processes}")
    if command.json and command.markdown:
        raise UsageError("--json and --markdown are two forms; take one")
    if find_spec("sympy") is None:
        raise RunError("this needs sympy: pip install 'carousel-lm[verify]'")
    from carousel.cli import verify_table

    tables, start = _chosen(command.family), clock()
    found = _found(tables, command.processes)
    if command.json:
        print(verify_table.as_json(found))
    elif command.markdown:
        print(verify_table.as_markdown(tables, found))
    else:
        verify_table.show(tables, found)
    failed = [cell for cell in found if not cell.figure.holds]
    for cell in failed:
        line = f"{cell.family}: {cell.check} fails: {verify_table.explained(cell.figure)}"
        console.print_line(line, style="red")
    verdict = f"{verify_table.verdict(found)}, in {duration(clock() - start)}"
    console.print_line(verdict, style="dim")
    return 1 if failed else 0


def _chosen(family: str) -> "list[Table]":
    """Return the tables with those rows that begin so, whether or not they say kernel first."""
    from carousel.verify.rows import TABLES

    chosen = []
    for table in TABLES:
        rows = [
            row
            for row in table.rows
            if any(name.startswith(family) for name in (row.name, row.name.removeprefix("kernel ")))
        ]
        if rows:
            chosen.append(table._replace(rows=rows))
    if not chosen:
        known = ", ".join(row.name for table in TABLES for row in table.rows if "," not in row.name)
        raise UsageError(f"--family: none begins with {family!r}; there are {known}")
    return chosen


def _found(tables: "list[Table]", processes: int) -> "list[Cell]":
    import torch

    from carousel.kernels import fused
    from carousel.verify.table import cells

    if any(table.kind == "kernel" for table in tables):
        fused.unavailable_reason(
            torch.float32
        )  # compiled, or its lack explained, before many ask for it
    found = []
    number = sum(len(table.rows) * len(table.checks) for table in tables)
    with VisibleProgress(
        console=console, transient=True, disable=not can_redraw(console)
    ) as progress:
        task = progress.add_task("verifying", total=number)
        for cell in cells(tables, processes=processes):
            found.append(cell)
            progress.update(task, advance=1, description=f"{cell.family}: {cell.check}")
    return found
