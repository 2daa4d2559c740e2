"""Run one recurrent layer in one direction; every recurrent family runs through here.

Time-major: T time steps, B sequences, D input features, G = gates · H.
"""

from typing import Any

from torch import Tensor

from carousel.kernels.dispatch import Implementation
from carousel.nn.autograd import wants_gradient
from carousel.nn.hand_derived import HandDerived
from carousel.ops.recurrence import NO_MASKS, Family, Masks, Saved, Source, State, Weights


def _forward(
    implementation: Implementation,
    family: Family,
    kind: type[Source],
    names: tuple[str, ...],
    masks: Masks,
    *tensors: Any,
) -> tuple[Any, ...]:
    """Return (y, *state); the tensors are those of the source, the state and the weights."""
    first, split = len(kind._fields), len(tensors) - len(names)
    source, state, weights = kind(*tensors[:first]), tensors[first:split], tensors[split:]
    y, last, saved = implementation.forward(
        family, source, state, dict(zip(names, weights, strict=True)), masks
    )
    caches = [tensor for cache in saved.caches for tensor in cache]
    to_save = (*source, masks.h, masks.candidate, *masks.hold, *weights, *caches)
    steps, parts = len(saved.caches), len(masks.hold)
    return (y, *last), to_save, implementation, family, kind, names, steps, parts


def _backward(ctx: Any, dy: Tensor, *dstate: Tensor) -> tuple[Tensor | None, ...]:
    implementation, family, kind, names, steps, parts = ctx.constants
    tensors, first = ctx.saved_tensors, len(kind._fields)
    source, (h, candidate, *rest) = kind(*tensors[:first]), tensors[first:]
    masks, rest = Masks(tuple(rest[:parts]), h, candidate), rest[parts:]
    weights: Weights = dict(zip(names, rest, strict=False))
    flat = rest[len(names) :]
    width = len(flat) // steps
    caches = [tuple(flat[k : k + width]) for k in range(0, len(flat), width)]
    dsource, dstate_0, dweights = implementation.backward(
        family, dy, dstate, Saved(source, caches), weights, masks
    )
    return None, None, None, None, None, *dsource, *dstate_0, *(dweights[n] for n in names)


_recurrence = HandDerived("Recurrence", _forward, _backward)


def run(
    implementation: Implementation,
    family: Family,
    source: Source,
    state: State,
    weights: Weights,
    masks: Masks = NO_MASKS,
) -> tuple[Tensor, State]:
    """Return the outputs (T, B, ·) and the last state of one layer in one direction.

    Autograd uses the hand-derived backward pass if the implementation has one; else it
    differentiates the loop.
    """
    tensors = (*source, *state, *weights.values())
    if implementation.infer is not None and not wants_gradient(*tensors):
        return implementation.infer(family, source, state, weights, masks)
    if implementation.backward is None:
        y, last, _ = implementation.forward(family, source, state, weights, masks)
        return y, last
    y, *last_state = _recurrence.apply(
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
