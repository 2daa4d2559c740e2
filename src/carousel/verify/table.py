"""The table: which checks there are, how often each is done, and what they found."""

import logging
import math
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import torch

import carousel
from carousel.verify.check_result import CheckResult


class Check(NamedTuple):
    """A column of the table.

    Attributes:
        name: Its heading.
        seeds: Of how many random cases it is made.
        meaning: What the figure is.
    """

    name: str
    seeds: int
    meaning: str


class Row(NamedTuple):
    """A check: what it proves, and how.

    Attributes:
        name: Its heading; the same with ", masked" is a row of its own.
        cells: By the check's name, what examines it, in one random case for each seed; or why
            nothing does.
        backend: What runs the layers that are examined.
    """

    name: str
    cells: Mapping[str, Callable[[range], CheckResult] | str]
    backend: str = "bptt"


class Table(NamedTuple):
    """Rows that the same checks examine; kind is what they are."""

    kind: str
    checks: Sequence[Check]
    rows: Sequence[Row]


class Cell(NamedTuple):
    """The result of one check of one row."""

    family: str
    check: str
    figure: CheckResult


def cells(tables: Sequence[Table], *, processes: int) -> Iterator[Cell]:
    """Yield what each check finds of each row, row by row; each process has one thread."""
    tasks = [(row, check) for table in tables for row in table.rows for check in table.checks]
    with ProcessPoolExecutor(processes, get_context("spawn"), _prepare) as pool:
        try:
            figures = pool.map(examine, *zip(*tasks, strict=True))
            for (row, check), figure in zip(tasks, figures, strict=True):
                yield Cell(row.name, check.name, figure)
        finally:
            pool.shutdown(cancel_futures=True)


def examine(row: Row, check: Check) -> CheckResult:
    """Run one check; a fault that ends in an error is a fault found."""
    examiner = row.cells[check.name]
    if isinstance(examiner, str):
        return CheckResult(None, where=examiner)
    try:
        with warnings.catch_warnings(), carousel.backend(row.backend):
            warnings.filterwarnings("ignore", "LSTM with projections", UserWarning)  # torch's own
            return examiner(range(check.seeds))
    except Exception as error:
        return CheckResult(math.inf, 0.0, f"{type(error).__name__}: {error}")


def _prepare() -> None:
    """Make ready a process; Ctrl-C, and warnings, are for the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    logging.getLogger("carousel").setLevel(logging.ERROR)
