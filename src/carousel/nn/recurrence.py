"""One layer in one direction: the autograd.Function that every recurrent family runs through.

Time-major: T time steps, B sequences, D input features, G = gates · H.
"""

from typing import Any

import torch
from torch import Tensor

from carousel.kernels.dispatch import Implementation
from carousel.nn.autograd import disable_autocast, hand_derived, wants_gradient
from carousel.ops.recurrence import NO_MASKS, Family, Masks, Saved, Source, State, Weights


class Recurrence(torch.autograd.Function):
    """A recurrence whose gradient is the hand-derived one, not torch's."""

    @staticmethod
    def forward(
        ctx: Any,
        implementation: Implementation,
        family: Family,
        kind: type[Source],
        names: tuple[str, ...],
        masks: Masks,
        *tensors: Any,
    ) -> tuple[Tensor, ...]:
        """Return (y, *state); the tensors are those of the source, the state and the weights."""
        first, split = len(kind._fields), len(tensors) - len(names)
        source, state, weights = kind(*tensors[:first]), tensors[first:split], tensors[split:]
        y, last, trace = implementation.forward(
            family, source, state, dict(zip(names, weights, strict=True)), masks
        )
        # save_for_backward, never an attribute: an output kept on ctx is a cycle that leaks.
        caches = [tensor for cache in trace.caches for tensor in cache]
        ctx.save_for_backward(*source, masks.h, masks.candidate, *masks.hold, *weights, *caches)
        ctx.implementation, ctx.family, ctx.kind, ctx.names = implementation, family, kind, names
        ctx.steps, ctx.parts = len(trace.caches), len(masks.hold)
        return y, *last

    @staticmethod
    @hand_derived
    def backward(ctx: Any, dy: Tensor, *dstate: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients in the order of forward's arguments."""
        saved, first = ctx.saved_tensors, len(ctx.kind._fields)
        source, (h, candidate, *rest) = ctx.kind(*saved[:first]), saved[first:]
        masks, rest = Masks(tuple(rest[: ctx.parts]), h, candidate), rest[ctx.parts :]
        weights: Weights = dict(zip(ctx.names, rest, strict=False))
        flat = rest[len(ctx.names) :]
        width = len(flat) // ctx.steps
        caches = [tuple(flat[k : k + width]) for k in range(0, len(flat), width)]
        trace = Saved(source, caches)
        with disable_autocast(dy.device):
            dsource, dstate_0, dweights = ctx.implementation.backward(
                ctx.family, dy, dstate, trace, weights, masks
            )
        return None, None, None, None, None, *dsource, *dstate_0, *(dweights[n] for n in ctx.names)


def run(
    implementation: Implementation,
    family: Family,
    source: Source,
    state: State,
    weights: Weights,
    masks: Masks = NO_MASKS,
) -> tuple[Tensor, State]:
    """Return the outputs (T, B, ·) and the last state of one layer in one direction.

    autograd meets the hand-derived reverse where the implementation has one, else the loop itself.
    """
    tensors = (*source, *state, *weights.values())
    if implementation.infer is not None and not wants_gradient(*tensors):
        return implementation.infer(family, source, state, weights, masks)
    if implementation.backward is None:
        y, last, _ = implementation.forward(family, source, state, weights, masks)
        return y, last
    y, *last_state = Recurrence.apply(  # type: ignore[no-untyped-call]
        implementation,
        family,
        type(source),
        tuple(weights),
        masks,
        *source,
        *state,
        *weights.values(),
    )
    return y, tuple(last_state)
