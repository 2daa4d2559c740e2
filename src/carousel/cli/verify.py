"""`carousel verify`: the proof that equations, hand-derived gradients and layers agree."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import Progress

from carousel.cli.console import clock, console, duration
from carousel.cli.parse import parse
from carousel.errors import RunError, UsageError

if TYPE_CHECKING:
    from carousel.verify.table import Cell, Row


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Check every family: exactly, numerically, and against torch.nn. About a minute.

    Attributes:
        family: Only rows whose name begins so: rnn, gru, lstm, "lstm peephole", mlp, attention, …
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

    rows, start = _chosen(command.family), clock()
    found = _found(rows, command.processes)
    if command.json:
        print(verify_table.as_json(found))
    elif command.markdown:
        print(verify_table.as_markdown(found))
    else:
        verify_table.show(found)
    failed = [cell for cell in found if not cell.figure.holds]
    for cell in failed:
        line = f"{cell.family}: {cell.check} fails: {verify_table.explained(cell.figure)}"
        console.print(escape(line), style="red")
    verdict = f"{len(failed)} of {len(found)} fail" if failed else f"all {len(found)} hold"
    console.print(f"{verdict}, in {duration(clock() - start)}", style="dim")
    return 1 if failed else 0


def _chosen(family: str) -> "list[Row]":
    from carousel.verify.rows import ROWS

    chosen = [row for row in ROWS if row.name.startswith(family)]
    if not chosen:
        known = ", ".join(row.name for row in ROWS if not row.name.endswith(", masked"))
        raise UsageError(f"--family: none begins with {family!r}; there are {known}")
    return chosen


def _found(rows: "list[Row]", processes: int) -> "list[Cell]":
    from carousel.verify.rows import CHECKS
    from carousel.verify.table import cells

    found = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("verifying", total=len(rows) * len(CHECKS))
        for cell in cells(rows, CHECKS, processes=processes):
            found.append(cell)
            progress.update(task, advance=1, description=f"{cell.family}: {cell.check}")
    return found
