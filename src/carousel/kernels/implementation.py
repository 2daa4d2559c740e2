"""Which code runs a recurrence: chosen at run time, all proven equal to ops/.

`autograd`: the time loop, differentiated by torch. `bptt`: the time loop and its hand-derived
reverse. A kernel is one more implementation; `auto` picks the fastest that applies.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

from torch import Tensor

from carousel.ops import recurrence
from carousel.ops.recurrence import Dense, Family, State, Trace, Weights

Backend = Literal["auto", "autograd", "bptt"]


class Implementation(NamedTuple):
    """A way to run any family: forward, and its reverse (None: torch differentiates forward)."""

    name: str
    forward: Callable[[Family, Dense, State, Weights], tuple[Tensor, State, Trace]]
    backward: Callable[[Family, Tensor, State, Trace, Weights], tuple[Dense, State, Weights]] | None


AUTOGRAD = Implementation("autograd", recurrence.forward, None)
BPTT = Implementation("bptt", recurrence.forward, recurrence.backward)


def choose(backend: str = "auto") -> Implementation:
    """Return the implementation that a backend's name asks for.

    Raises:
        ValueError: If there is no such backend; the message lists those there are.
    """
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {get_args(Backend)}, got {backend!r}")
    return AUTOGRAD if backend == "autograd" else BPTT
