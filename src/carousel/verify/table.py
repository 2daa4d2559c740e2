"""The table: which checks there are, how often each is done, and what they found."""

import math
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

import torch

from carousel.verify.autograd import BOUND as AUTOGRAD_BOUND
from carousel.verify.autograd import autograd
from carousel.verify.cases import VARIANTS, Variant
from carousel.verify.causality import causality
from carousel.verify.differences import BOUND as DIFFERENCES_BOUND
from carousel.verify.differences import differences
from carousel.verify.exact import exact
from carousel.verify.figure import Figure, worst
from carousel.verify.streaming import BOUND as STREAMING_BOUND
from carousel.verify.streaming import streaming
from carousel.verify.streaming_layers import streaming_layers
from carousel.verify.torch_nn import BOUNDS, torch_nn


class Check(NamedTuple):
    """A column of the table.

    Attributes:
        name: Its heading.
        run: Examines a variant, in one random case for each seed.
        seeds: How many there are.
        meaning: What the figure is.
    """

    name: str
    run: Callable[[Variant, range], Figure]
    seeds: int
    meaning: str


class Cell(NamedTuple):
    """What one check found of one variant."""

    family: str
    check: str
    figure: Figure


def both_streams(variant: Variant, seeds: range) -> Figure:
    """Hold the op and the layer to the streaming law."""
    return worst([streaming(variant, seeds), streaming_layers(variant, seeds)])


CHECKS = (
    Check(
        "exact",
        exact,
        5,
        "part of all derivatives in which the reverse is not that of the op's forward: without "
        "rounding, over the field of 2⁶¹−1 elements; σ', tanh', (1/√)' are rules that sympy proves",
    ),
    Check(
        "finite diff.",
        differences,
        10,
        f"the op's gradients against central differences, float64; bound {DIFFERENCES_BOUND:.0e}",
    ),
    Check(
        "autograd",
        autograd,
        50,
        f"the op's gradients against torch's of the same loop; bound {AUTOGRAD_BOUND:.0e}",
    ),
    Check(
        "torch.nn float64",
        partial(torch_nn, dtype=torch.float64),
        200,
        "the layer's outputs, states and gradients against its namesake's; where masked, of packed "
        f"sequences; bound {BOUNDS[torch.float64]:.0e}",
    ),
    Check(
        "torch.nn float32",
        partial(torch_nn, dtype=torch.float32),
        200,
        f"the same in single precision; bound {BOUNDS[torch.float32]:.0e}",
    ),
    Check(
        "streaming",
        both_streams,
        20,
        "op and layer: whole = any split = one step at a time = saved and restored = any row of a "
        f"batch, outputs and gradients; bound {STREAMING_BOUND:.0e}",
    ),
    Check(
        "causality",
        causality,
        10,
        "part of all pairs in which an output depends on a later input, or not on an earlier one",
    ),
)


def cells(
    variants: Sequence[Variant] = VARIANTS, checks: Sequence[Check] = CHECKS, *, processes: int
) -> Iterator[Cell]:
    """Yield what each check finds of each variant, row by row; each process has one thread."""
    tasks = [(variant, check) for variant in variants for check in checks]
    with ProcessPoolExecutor(processes, get_context("spawn"), _prepare) as pool:
        try:
            figures = pool.map(examine, *zip(*tasks, strict=True))
            for (variant, check), figure in zip(tasks, figures, strict=True):
                yield Cell(variant.name, check.name, figure)
        finally:
            pool.shutdown(cancel_futures=True)


def examine(variant: Variant, check: Check) -> Figure:
    """Run one check; a fault that ends in an error is a fault found."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "LSTM with projections", UserWarning)  # torch's own
            return check.run(variant, range(check.seeds))
    except Exception as error:
        return Figure(math.inf, 0.0, f"{type(error).__name__}: {error}")


def _prepare() -> None:
    """Make ready a process; Ctrl-C is for the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
