"""Which code runs a recurrence: chosen at run time, all proven equal to ops/.

`autograd`: the time loop, differentiated by torch. `bptt`: the time loop and its hand-derived
reverse. A kernel is one more implementation; `auto` picks the fastest that applies.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple, get_args

from torch import Tensor

from carousel.ops import recurrence
from carousel.ops.recurrence import Dense, Family, Masks, State, Trace, Weights

Backend = Literal["auto", "autograd", "bptt"]


class Implementation(NamedTuple):
    """A way to run any family: forward, and its reverse (None: torch differentiates forward)."""

    name: str
    forward: Callable[[Family, Dense, State, Weights, Masks], tuple[Tensor, State, Trace]]
    backward: (
        Callable[[Family, Tensor, State, Trace, Weights, Masks], tuple[Dense, State, Weights]]
        | None
    )


AUTOGRAD = Implementation("autograd", recurrence.forward, None)
BPTT = Implementation("bptt", recurrence.forward, recurrence.backward)

_of_auto: ContextVar[str] = ContextVar("backend of layers that say auto", default="auto")


def choose(backend: str = "auto") -> Implementation:
    """Return the implementation that a backend's name asks for.

    Raises:
        ValueError: If there is no such backend; the message lists those there are.
    """
    _check(backend)
    name = _of_auto.get() if backend == "auto" else backend
    return AUTOGRAD if name == "autograd" else BPTT


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Say for a while what "auto" means; a layer that names its backend keeps it.

        with carousel.backend("autograd"):
            y, _ = layer(x)  # its gradients too are torch's, also when taken outside

    It holds for this thread or task alone; inside another, the inner one counts.

    Raises:
        ValueError: If there is no such backend; the message lists those there are.
    """
    _check(name)
    token = _of_auto.set(name)
    try:
        yield
    finally:
        _of_auto.reset(token)


def _check(backend: str) -> None:
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {get_args(Backend)}, got {backend!r}")
