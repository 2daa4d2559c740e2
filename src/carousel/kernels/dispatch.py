"""Which code runs a recurrence: chosen at run time, all proven equal to ops/.

`autograd`: the time loop, differentiated by torch. `bptt`: the time loop and its hand-derived
reverse. `fused`: a kernel that is both in one. `auto` picks the fastest that applies; under
torch.func, with forward-mode tangents, and in a traced or exported program that is `autograd`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from carousel.kernels import fused
from carousel.kernels.transforms import active_transform, has_symbolic_sizes
from carousel.ops import recurrence
from carousel.ops.recurrence import Family, Masks, Saved, Source, State, Weights

Backend = Literal["auto", "autograd", "bptt", "fused"]


class Implementation(NamedTuple):
    """A way to run a family.

    Attributes:
        name: Its backend.
        forward: Outputs, last state, and the trace for the reverse.
        backward: The reverse; None: torch differentiates forward.
        infer: Outputs and last state alone; None: forward is no dearer.
    """

    name: str
    forward: Callable[[Family, Source, State, Weights, Masks], tuple[Tensor, State, Saved]]
    backward: (
        Callable[[Family, Tensor, State, Saved, Weights, Masks], tuple[Source, State, Weights]]
        | None
    )
    infer: Callable[[Family, Source, State, Weights, Masks], tuple[Tensor, State]] | None = None


AUTOGRAD = Implementation("autograd", recurrence.forward, None)
BPTT = Implementation("bptt", recurrence.forward, recurrence.backward)
FUSED = {
    product: Implementation("fused", forward, fused.backward, fused.INFER[product])
    for product, forward in fused.FORWARD.items()
}  # by the type of their products

_of_auto: ContextVar[str] = ContextVar("backend of layers that say auto", default="auto")


def choose(backend: str, *tensors: Tensor | None) -> Implementation:
    """Return the implementation that a backend's name asks for, where there is no kernel.

    Args:
        backend: Its name.
        tensors: What it is to compute with; None counts for nothing.

    Raises:
        ValueError: If there is no such backend, or it cannot serve a tool of torch's at work.
    """
    return AUTOGRAD if _name(backend, *tensors) == "autograd" else BPTT


def choose_recurrence(
    backend: str,
    family: Family,
    source: Source,
    state: State,
    weights: Weights,
    masks: Masks,
    product: torch.dtype,
) -> Implementation:
    """Return the implementation of a recurrence that a backend's name asks for.

    Args:
        backend: Its name.
        family: What is to run, and the rest: on what.
        source: Its input.
        state: Its initial state.
        weights: Its weights.
        masks: Its masks.
        product: The type that the products should have: autocast's, else that of the weights.
            A half precision that the kernels lack gives way to the precision of the weights.

    Raises:
        ValueError: If there is no such backend, it cannot serve a tool of torch's at work, or the
            one named by "fused" cannot run this.
    """
    name = _name(backend, *source, *state, *weights.values())
    T, B = source[0].shape[:2]
    if name == "autograd":
        return AUTOGRAD
    if name == "bptt" or (name == "auto" and _is_small(T * B, product)):
        return BPTT
    call = fused.Call(family, source, weights, masks, product)
    obstacle = fused.unsupported_reason(call)
    own = state[0].dtype  # as the weights
    if obstacle is not None and product != own:
        product, obstacle = own, fused.unsupported_reason(call._replace(product=own))
    if obstacle is None:
        return FUSED[product]
    if name == "fused":
        raise ValueError(f"backend 'fused' cannot run here: {obstacle}; 'auto' would do without")
    return BPTT


def _is_small(rows: int, product: torch.dtype) -> bool:
    """Tell whether torch multiplies so few rows sooner than a kernel has packed its weights.

    So a character is written. In float32 alone: the loop's state would have the type of bf16.
    """
    return rows <= 3 and product == torch.float32


def choose_kernel(obstacle: Callable[[], str | None], *tensors: Tensor | None) -> bool:
    """Tell whether a kernel is to run: "auto" may mean one, and nothing is in the way.

    Args:
        obstacle: Says why it cannot run; asked only where it might.
        tensors: What it is to compute with, where that may be differentiated.
    """
    return _name("auto", *tensors) in ("auto", "fused") and obstacle() is None


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Say for a while what "auto" means; a layer that names its backend keeps it.

        with carousel.backend("autograd"):
            y, _ = layer(x)  # its gradients too are torch's, also when taken outside

    It holds for this thread or task alone; inside another, the inner one counts.

    Raises:
        ValueError: If there is no such backend; the message lists those there are.
    """
    check_backend(name)
    token = _of_auto.set(name)
    try:
        yield
    finally:
        _of_auto.reset(token)


def check_backend(backend: str) -> None:
    """Raise ValueError if there is no such backend; the message lists those there are."""
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {get_args(Backend)}, got {backend!r}")


def _name(backend: str, *tensors: Tensor | None) -> str:
    """Return the backend that a name means here: for "auto" what the context and torch's tools say.

    Raises:
        ValueError: If there is no such backend, or it cannot serve a tool of torch's at work.
    """
    check_backend(backend)
    if backend == "auto" and has_symbolic_sizes():  # whatever the context says
        return "autograd"
    name = _of_auto.get() if backend == "auto" else backend
    if name == "autograd":
        return name
    transform = active_transform(*tensors)
    if transform is not None and name != "auto":
        raise ValueError(
            f"backend {name!r} cannot run under {transform}; 'autograd' can, and so can 'auto'"
        )
    return name if transform is None else "autograd"
