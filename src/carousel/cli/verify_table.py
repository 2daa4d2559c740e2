"""What `carousel verify` found, as a table for a terminal, for the README, and for programs."""

import json
import math
import sys
from collections.abc import Iterable
from textwrap import wrap

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from carousel.verify.figure import Figure
from carousel.verify.rows import CHECKS
from carousel.verify.table import Cell, Check

WIDTH = 78
MASKED = ", masked"


def show(found: list[Cell]) -> None:
    """Print the table to stdout, and below it what the figures are."""
    console = Console(file=sys.stdout, width=WIDTH, highlight=False)
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("family", no_wrap=True)
    for check in CHECKS:
        table.add_column(check.name.replace(" ", "\n"), justify="right", no_wrap=True)
    for family, figures in by_family(found).items():
        label = "  masked" if family.endswith(MASKED) and len(found) > len(CHECKS) else family
        shown = (Text(short(f), style="" if f.holds else "bold red") for f in figures)
        table.add_row(label, *shown)
    console.print(table)
    console.print()
    for name, text in legend(found).items():
        lines = wrap(text, WIDTH - 18, break_on_hyphens=False)
        print("\n".join(f"{head:<17} {line}" for head, line in _headed(name, lines)))


def as_markdown(found: list[Cell]) -> str:
    """Return the table, its figures rounded up to a power of ten, and what they are."""
    rows = [["family", *(check.name for check in CHECKS)], ["---", *("--:" for _ in CHECKS)]]
    rows += [[name, *map(rounded, figures)] for name, figures in by_family(found).items()]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    explained = "\n".join(f"- {name}: {text}" for name, text in legend(found).items())
    return f"{table}\n\n{explained}"


def as_json(found: list[Cell]) -> str:
    """Return one object; `reached` is null where a check does not apply or ended in an error."""
    cells = [
        {
            "family": cell.family,
            "check": cell.check,
            "holds": cell.figure.holds,
            "reached": _finite(cell.figure.reached),
            "bound": _finite(cell.figure.bound),
            "cases": cell.figure.cases,
            "where": cell.figure.where,
        }
        for cell in found
    ]
    return json.dumps({"holds": all(cell.figure.holds for cell in found), "cells": cells})


def by_family(found: list[Cell]) -> dict[str, list[Figure]]:
    """Return each family's figures, in the order of the checks."""
    rows: dict[str, list[Figure]] = {}
    for cell in found:
        rows.setdefault(cell.family, []).append(cell.figure)
    return rows


def legend(found: list[Cell]) -> dict[str, str]:
    """Return what each column's figures are, the cases behind a row, and why one has none."""
    said = {check.name: check.meaning + _behind(check, found) for check in CHECKS}
    said["masked"] = (
        "old state held (sequences that have ended, zoneout), h masked (variational dropout), for "
        "lstm, peephole and projected the candidate too (recurrent dropout); attention: a window "
        "of the keys that are written, weights dropped; in blocks and multi-head: keys hidden by -∞"
    )
    if missing := [cell for cell in found if cell.figure.reached is None]:
        said["—"] = _absences(missing)
    return said


def short(figure: Figure) -> str:
    """Return a figure in one digit."""
    if figure.reached is None:
        return "—"
    if math.isinf(figure.reached):
        return "error"
    return f"{figure.reached:.0e}" if figure.reached else "0"


def rounded(figure: Figure) -> str:
    """Return a figure as a bound, the next power of ten: it is the same on every machine."""
    if not figure.reached or math.isinf(figure.reached):
        return short(figure)
    return f"≤ 1e{math.ceil(math.log10(figure.reached)):03d}"


def explained(figure: Figure) -> str:
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
    said = (f"{check}: {', '.join(_unique(why))}" for check, why in reasons.items())
    return f"does not apply. {'; '.join(said)}"


def _headed(name: str, lines: list[str]) -> list[tuple[str, str]]:
    return list(zip([name, *[""] * len(lines)], lines, strict=False))


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
