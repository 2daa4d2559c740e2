"""Helpers for hand-derived gradients: torch.compile, vmap, second derivatives, autocast."""

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from carousel.torch_internals import is_exporting, vmap_axis

P = ParamSpec("P")
R = TypeVar("R")
Gradients = tuple[Tensor | None, ...]


def opaque(function: Callable[P, R]) -> Callable[P, R]:
    """Keep torch.compile out of a function, which then runs as it does without.

    The compiler would unroll the time loop, and be slower than the kernels when it is done.
    torch.export, which must have the whole program in one graph, may unroll it.
    """

    @wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        if torch.compiler.is_dynamo_compiling() and not is_exporting():
            outside: Callable[P, R] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
            return outside(*arguments, **named)
        return function(*arguments, **named)

    return call


def hand_derived(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """Wrap the backward of an autograd.Function: refuse what it cannot do, and loop over a vmap.

    Vectorised Jacobians (is_grads_batched, vectorize=True, vmap over torch.autograd.grad) ask for
    many directions at once. They are taken one after another: a kernel knows nothing of vmap.
    """

    @wraps(backward)
    def call(ctx: Any, *gradients: Tensor | None) -> Gradients:
        refuse_second_derivative()
        batch = next((axis for axis in map(vmap_axis, gradients) if axis is not None), None)
        if batch is None:
            return backward(ctx, *gradients)
        rows = [
            itertools.repeat(g) if g is None or vmap_axis(g) is None else batch.remove(g).unbind(0)
            for g in gradients
        ]
        found = [backward(ctx, *row) for row in zip(*rows, strict=False)]
        return tuple(
            None if parts[0] is None else batch.add(torch.stack(parts))
            for parts in zip(*found, strict=True)
        )

    return call


def refuse_second_derivative() -> None:
    """Raise if a backward pass is run with create_graph=True, instead of being silently wrong.

    torch's once_differentiable would take a second derivative for zero where the loss is linear in
    the output.

    Raises:
        RuntimeError: If the backward pass is to be differentiated.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            "the hand-derived gradient cannot be differentiated again (create_graph=True); "
            "under carousel.backend('autograd') torch's own can"
        )


def disable_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Switch autocast off: the recurrence computes in the precision of its weights.

    A state that is summed over thousands of steps does not survive eight bits of mantissa.
    """
    if is_autocast_on(device):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def is_autocast_on(device: torch.device) -> bool:
    """Return whether autocast is at work on a device; some, such as meta, do not know it."""
    # Not asked of torch.amp.is_autocast_available: torch.compile in torch 2.11 stumbles over it.
    try:
        return torch.is_autocast_enabled(device.type)
    except RuntimeError:
        return False


def compute_dtype_of(weight: Tensor) -> torch.dtype:
    """Return the type that products with a weight should have: autocast's, else the weight's."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if is_autocast_on(weight.device) else weight.dtype


def wants_gradient(*tensors: Tensor | None) -> bool:
    """Return whether autograd will ask for the gradient of what these tensors give."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
