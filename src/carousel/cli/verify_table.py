"""The findings of `carousel verify` as tables for a terminal, docs/verification.md and programs."""

import math
import sys
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table as Printed
from rich.text import Text

from carousel.cli.console import print_table
from carousel.cli.terminal import folded, width
from carousel.json_text import dump_json
from carousel.verify.check_result import CheckResult
from carousel.verify.table import Cell, Check, Table

WIDTH = 78
MASKED = (
    "old state held (sequences that have ended, zoneout), h masked (variational dropout), for "
    "lstm, peephole and projected the candidate too (recurrent dropout); attention: a window "
    "of the keys that are written, weights dropped; in blocks and multi-head: keys hidden by -∞"
)


def show(tables: Sequence[Table], found: list[Cell]) -> None:
    """Print the tables to stdout, and below each what the figures are."""
    for k, table in enumerate(tables):
        if k > 0:
            print()
        _show(table, of_table(table, found))


def _show(table: Table, found: list[Cell]) -> None:
    printed = Printed(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    printed.add_column(table.kind)
    for check in table.checks:
        printed.add_column(check.name.replace(" ", "\n"), justify="right", no_wrap=True)
    above: list[str] = []
    for name, figures in by_family(table, found).items():
        family, _, use = name.partition(", ")
        shown = (Text(short(f), style="" if f.holds else "bold red") for f in figures)
        printed.add_row(f"  {use}" if use and family in above else name, *shown)
        above.append(name)
    print_table(printed, WIDTH)
    print()
    for name, text in legend(table, found).items():
        print(folded(f"{name:<17} ", text, min(WIDTH, width(sys.stdout))))


def as_markdown(tables: Sequence[Table], found: list[Cell]) -> str:
    """Return the tables, their figures rounded up to a power of ten, and what they are."""
    return "\n\n".join(_as_markdown(table, of_table(table, found)) for table in tables)


def _as_markdown(table: Table, found: list[Cell]) -> str:
    checks = table.checks
    rows = [[table.kind, *(check.name for check in checks)], ["---", *("--:" for _ in checks)]]
    rows += [[name, *map(rounded, figures)] for name, figures in by_family(table, found).items()]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    explained = "\n".join(f"- {name}: {text}" for name, text in legend(table, found).items())
    return f"{lines}\n\n{explained}"


def as_json(found: list[Cell]) -> str:
    """Return one object; `reached` is null where a check does not apply or ended in an error.

    `holds` is null where a check could not be run on this machine.
    """
    cells = [
        {
            "family": cell.family,
            "check": cell.check,
            "holds": None if cell.figure.is_not_run else cell.figure.holds,
            "reached": _finite(cell.figure.reached),
            "bound": _finite(cell.figure.bound),
            "cases": cell.figure.cases,
            "where": cell.figure.where,
        }
        for cell in found
    ]
    return dump_json({"holds": all(cell.figure.holds for cell in found), "cells": cells})


def verdict(found: list[Cell]) -> str:
    """Return how many checks failed or all held, and how many were not run, and why."""
    failed = sum(not cell.figure.holds for cell in found)
    judged = sum(cell.figure.reached is not None for cell in found)
    said = [f"{failed} of {judged} fail" if failed else f"all {judged} hold"] if judged else []
    if missing := [cell for cell in found if cell.figure.is_not_run]:
        reasons = ", ".join(_unique(cell.figure.where for cell in missing))
        said.append(f"{len(missing)} not run: {reasons}")
    return "; ".join(said)


def of_table(table: Table, found: list[Cell]) -> list[Cell]:
    """Return the cells that are of one table."""
    names = {row.name for row in table.rows}
    return [cell for cell in found if cell.family in names]


def by_family(table: Table, found: list[Cell]) -> dict[str, list[CheckResult]]:
    """Return each family's figures, in the order of the checks."""
    rows: dict[str, list[CheckResult]] = {}
    for cell in found:
        rows.setdefault(cell.family.removeprefix(f"{table.kind} "), []).append(cell.figure)
    return rows


def legend(table: Table, found: list[Cell]) -> dict[str, str]:
    """Return what each column's figures are, the cases behind a row, and why one has none."""
    said = {check.name: check.meaning + _behind(check, found) for check in table.checks}
    if any(cell.family.endswith(", masked") for cell in found):
        said["masked"] = MASKED
    absent = [cell for cell in found if cell.figure.reached is None]
    if missing := [cell for cell in absent if not cell.figure.is_not_run]:
        said["—"] = f"does not apply. {_absences(missing)}"
    if missing := [cell for cell in absent if cell.figure.is_not_run]:
        said["not run"] = ", ".join(_unique(cell.figure.where for cell in missing))
    return said


def short(figure: CheckResult) -> str:
    """Return a figure in one digit."""
    if figure.reached is None:
        return "not run" if figure.is_not_run else "—"
    if math.isinf(figure.reached):
        return "error"
    return f"{figure.reached:.0e}" if figure.reached else "0"


def rounded(figure: CheckResult) -> str:
    """Return a figure as a bound, the next power of ten: it is the same on every machine."""
    if not figure.reached or math.isinf(figure.reached):
        return short(figure)
    return f"≤ 1e{math.ceil(math.log10(figure.reached)):03d}"


def explained(figure: CheckResult) -> str:
    """Return a figure that is too large, with its bound and where it was."""
    if figure.reached is None or math.isinf(figure.reached):
        return figure.where
    return f"{figure.reached:.1e}, bound {figure.bound:.0e}, at {figure.where}"


def _behind(check: Check, found: list[Cell]) -> str:
    cases = [c.figure.cases for c in found if c.check == check.name and c.figure.cases]
    if not cases:
        return ""
    few, many = min(cases), max(cases)
    unit = "derivatives" if check.name == "exact" else "cases"
    return f" ({few:,} {unit} a row)" if few == many else f" ({few:,} to {many:,} {unit} a row)"


def _absences(missing: list[Cell]) -> str:
    """Return why checks do not apply; the two of torch.nn have the same reasons."""
    reasons: dict[str, list[str]] = {}
    for cell in missing:
        reasons.setdefault(cell.check.split()[0], []).append(cell.figure.where)
    return "; ".join(f"{check}: {', '.join(_unique(why))}" for check, why in reasons.items())


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
