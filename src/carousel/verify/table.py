"""The table: which checks there are, how often each is done, and what they found."""

import math
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import torch

from carousel.verify.figure import Figure


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
    """What is proven, and how.

    Attributes:
        name: Its heading; the same with ", masked" is a row of its own.
        cells: By the check's name, what examines it, in one random case for each seed; or why
            nothing does.
    """

    name: str
    cells: Mapping[str, Callable[[range], Figure] | str]


class Cell(NamedTuple):
    """What one check found of one row."""

    family: str
    check: str
    figure: Figure


def cells(rows: Sequence[Row], checks: Sequence[Check], *, processes: int) -> Iterator[Cell]:
    """Yield what each check finds of each row, row by row; each process has one thread."""
    tasks = [(row, check) for row in rows for check in checks]
    with ProcessPoolExecutor(processes, get_context("spawn"), _prepare) as pool:
        try:
            figures = pool.map(examine, *zip(*tasks, strict=True))
            for (row, check), figure in zip(tasks, figures, strict=True):
                yield Cell(row.name, check.name, figure)
        finally:
            pool.shutdown(cancel_futures=True)


def examine(row: Row, check: Check) -> Figure:
    """Run one check; a fault that ends in an error is a fault found."""
    examiner = row.cells[check.name]
    if isinstance(examiner, str):
        return Figure(None, where=examiner)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "LSTM with projections", UserWarning)  # torch's own
            return examiner(range(check.seeds))
    except Exception as error:
        return Figure(math.inf, 0.0, f"{type(error).__name__}: {error}")


def _prepare() -> None:
    """Make ready a process; Ctrl-C is for the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
