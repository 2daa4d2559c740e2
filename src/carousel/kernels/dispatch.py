"""Choose the code that runs a recurrence; all choices are proven equal to ops/.

`autograd` is the time loop, differentiated by torch. `bptt` is the time loop with the hand-derived
backward pass. `fused` is a kernel for both. `auto` picks the fastest that applies; under
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
    """Functions that run a family.

    Attributes:
        name: The backend.
        forward: Returns the outputs, the last state, and what the backward pass reads.
        backward: The backward pass; None: torch differentiates forward.
        infer: Returns the outputs and the last state; None: forward costs no more.
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
    compute_dtype: Implementation("fused", forward, fused.backward, fused.INFER[compute_dtype])
    for compute_dtype, forward in fused.FORWARD.items()
}  # by compute_dtype

_auto_backend: ContextVar[str] = ContextVar("backend of layers that say auto", default="auto")


def choose(backend: str, *tensors: Tensor | None) -> Implementation:
    """Return the implementation of a backend for an op that has no kernel.

    Args:
        backend: The name of the backend.
        tensors: All tensors that it will compute with; None is ignored.

    Raises:
        ValueError: If there is no such backend, or it cannot run under the torch transform that is
            active.
    """
    return AUTOGRAD if _name(backend, *tensors) == "autograd" else BPTT


def choose_recurrence(
    backend: str,
    family: Family,
    source: Source,
    state: State,
    weights: Weights,
    masks: Masks,
    compute_dtype: torch.dtype,
) -> Implementation:
    """Return the implementation of a backend for this recurrence.

    Args:
        backend: The name of the backend.
        family: The family to run.
        source: Its input.
        state: Its initial state.
        weights: Its weights.
        masks: Its masks.
        compute_dtype: Type of the matrix products: autocast's, else that of the weights. If the
            kernels lack it, they use the type of the weights.

    Raises:
        ValueError: If there is no such backend, it cannot run under the torch transform that is
            active, or `backend` is "fused" and no kernel supports this.
    """
    name = _name(backend, *source, *state, *weights.values())
    T, B = source[0].shape[:2]
    if name == "autograd":
        return AUTOGRAD
    if name == "bptt" or (name == "auto" and _is_small(T * B, compute_dtype)):
        return BPTT
    call = fused.Call(family, source, weights, masks, compute_dtype)
    reason = fused.unsupported_reason(call)
    own = state[0].dtype  # as the weights
    if reason is not None and compute_dtype != own:
        compute_dtype, reason = own, fused.unsupported_reason(call._replace(compute_dtype=own))
    if reason is None:
        return FUSED[compute_dtype]
    if name == "fused":
        raise ValueError(f"backend 'fused' cannot run here: {reason}; 'auto' would do without")
    return BPTT


def _is_small(rows: int, compute_dtype: torch.dtype) -> bool:
    """Return whether the time loop is faster because the kernel's packing of weights dominates.

    This is how a single character is generated. Only in float32: in bf16 the loop would also round
    the state.
    """
    return rows <= 3 and compute_dtype == torch.float32


def choose_kernel(unsupported_reason: Callable[[], str | None], *tensors: Tensor | None) -> bool:
    """Return whether a kernel should run: "auto" allows one, and it supports this call.

    Args:
        unsupported_reason: Returns why it cannot run; called only if "auto" allows a kernel.
        tensors: All tensors that it will compute with, if those may be differentiated.
    """
    return _name("auto", *tensors) in ("auto", "fused") and unsupported_reason() is None


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Set what "auto" means inside a `with` block; layers with another backend are not affected.

        with carousel.backend("autograd"):
            y, _ = layer(x)  # its gradients too are torch's, also when taken outside

    It affects the current thread or task only. Blocks may be nested.

    Raises:
        ValueError: If there is no such backend; the message lists them.
    """
    check_backend(name)
    token = _auto_backend.set(name)
    try:
        yield
    finally:
        _auto_backend.reset(token)


def check_backend(backend: str) -> None:
    """Raise ValueError if there is no such backend; the message lists them."""
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {get_args(Backend)}, got {backend!r}")


def _name(backend: str, *tensors: Tensor | None) -> str:
    """Return the backend that a name means in the present context and under torch's transforms.

    Raises:
        ValueError: If there is no such backend, or it cannot run under the torch transform that is
            active.
    """
    check_backend(backend)
    if backend == "auto" and has_symbolic_sizes():  # whatever the context says
        return "autograd"
    name = _auto_backend.get() if backend == "auto" else backend
    if name == "autograd":
        return name
    transform = active_transform(*tensors)
    if transform is not None and name != "auto":
        raise ValueError(
            f"backend {name!r} cannot run under {transform}; 'autograd' can, and so can 'auto'"
        )
    return name if transform is None else "autograd"
