"""The time loop of every recurrent family, forward and backward through time.

A family is two pure functions, one time step forward and backward; what all families share is here.
Derivation: math/recurrence/equations.md.
Ops are time-major: T time steps, B sequences, D input features, G = gates · H features.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from carousel.ops.embedding import look_up, look_up_backward
from carousel.ops.layer_norm import normalise, normalise_backward

State = tuple[Tensor, ...]  # (h,) or (h, c), each (B, H); the first one is the output
Weights = dict[str, Tensor]  # w_hh (G, H), b_hh (G,), …: the keys present say which variant it is
Cache = tuple[Tensor, ...]  # what a step saves for its backward pass


class DenseInput(NamedTuple):
    """An input not yet projected: x (T, B, D), to be multiplied by w_ih (G, D) and shifted by b_ih.

    Handed over unprojected so that a kernel may fuse the projection with the loop. Where there is a
    gain (G,), the product is layer-normalised, and multiplied by it, before the shift.
    """

    x: Tensor
    w_ih: Tensor
    b_ih: Tensor | None = None
    gain: Tensor | None = None


class EmbeddedInput(NamedTuple):
    """An input that is looked up, not multiplied: row ids[t, b] of `project_embedding`'s table.

    The ids have no gradient: in the gradient of an EmbeddedInput they are None.
    """

    ids: Tensor  # (T, B), from 0 to R - 1
    table: Tensor  # (R, G)


Source = DenseInput | EmbeddedInput


class Masks(NamedTuple):
    """Masks that are fixed before the loop; no gradient flows to them. None: absent.

    `hold` keeps old state: after the end of a shorter sequence of the batch (all of it), and in
    zoneout (a random part of it): one thing, since both say m ⊙ old + (1 - m) ⊙ new.
    """

    hold: tuple[Tensor | None, ...] = (None, None)  # per part of the state: (T, B or 1, H or 1)
    h: Tensor | None = None  # (B, H): multiplies what a step reads of h, the same at every step
    candidate: Tensor | None = None  # (T, B, H): multiplies what a step would add to the state


NO_MASKS = Masks()


class Saved(NamedTuple):
    """What a forward pass saves for the backward pass, and for inspection."""

    source: Source
    caches: list[Cache]


class WeightGradient(NamedTuple):
    """One step's share of a weight's gradient: dᵀ·left, or Σ d for a bias; see (bptt.6)."""

    weight: str
    d: Tensor
    left: Tensor | None


class Family(NamedTuple):
    """A recurrence: one step a_t, s_{t-1} → s_t, and its backward pass.

    step(a_t, state, weights) and step_backward(dstate, cache, weights); those of a family with
    recurrent dropout take the candidate's mask (B, H) as one more argument.
    """

    name: str
    gates: int
    step: Callable[..., tuple[State, Cache]]
    step_backward: Callable[..., tuple[Tensor, State, list[WeightGradient]]]


def forward(
    family: Family, source: Source, state: State, weights: Weights, masks: Masks = NO_MASKS
) -> tuple[Tensor, State, Saved]:
    """Run T steps: return the outputs (T, B, H), the last state, and what backward reads."""
    outputs, caches = [], []
    for t, a_t in enumerate(project(source).unbind(0)):  # a[t] would make autograd ten times slower
        read = state if masks.h is None else (state[0] * masks.h, *state[1:])  # (bptt.7)
        new, cache = family.step(a_t, read, weights, *_candidate(t, masks))  # (bptt.2)
        state = tuple(map(_held, new, state, _holds(t, masks)))  # (bptt.8)
        outputs.append(state[0])
        caches.append(cache)
    return torch.stack(outputs), state, Saved(source, caches)


def backward(
    family: Family,
    dy: Tensor,
    dstate: State,
    saved: Saved,
    weights: Weights,
    masks: Masks = NO_MASKS,
) -> tuple[Source, State, Weights]:
    """Backpropagation through time: the gradients of the source, the initial state, the weights.

    dy (T, B, H) and dstate are the gradients of the loss with respect to what forward returned.
    What is truly recurrent runs in the loop; each weight's gradient is one product after it.
    """
    da: list[Tensor] = []
    shares: dict[str, list[WeightGradient]] = {name: [] for name in weights}
    steps = enumerate(zip(dy.unbind(0), saved.caches, strict=True))
    for t, (dy_t, cache) in reversed(list(steps)):
        dstate = (dstate[0] + dy_t, *dstate[1:])  # (bptt.3): h_t is output and next step's input
        holds = _holds(t, masks)
        dnew = tuple(map(_released, dstate, holds))  # (bptt.9)
        da_t, dread, gradients = family.step_backward(dnew, cache, weights, *_candidate(t, masks))
        dread = dread if masks.h is None else (dread[0] * masks.h, *dread[1:])  # (bptt.10)
        dstate = tuple(map(_kept, dread, dstate, holds))  # (bptt.9)
        da.append(da_t)
        for gradient in gradients:
            shares[gradient.weight].append(gradient)
    dsource = project_backward(torch.stack(da[::-1]), saved.source)
    return dsource, dstate, {name: _sum(steps) for name, steps in shares.items()}


def project(source: Source) -> Tensor:
    """Return a (T, B, G), the input's part of the gates, for all steps at once."""
    return look_up(*source) if isinstance(source, EmbeddedInput) else multiply(source)


def project_backward(da: Tensor, source: Source) -> Source:
    """Pull dL/da back to what the source consists of."""
    if isinstance(source, EmbeddedInput):
        dtable = look_up_backward(da, source.ids, source.table.shape[0])
        return EmbeddedInput(None, dtable)  # type: ignore[arg-type]
    return multiply_backward(da, source)


def multiply(source: DenseInput) -> Tensor:
    """Project an input: one product for all steps."""
    a = source.x @ source.w_ih.T  # (T, B, G)  (bptt.1)
    if source.gain is not None:
        a = normalise(a)[0] * source.gain  # (bptt.11)
    return a if source.b_ih is None else a + source.b_ih


def multiply_backward(da: Tensor, source: DenseInput) -> DenseInput:
    """Pull dL/da back to the input, its weight, its bias and its gain."""
    flat = da.flatten(0, 1)  # (T·B, G)
    db_ih = None if source.b_ih is None else flat.sum(0)
    dgain = None
    if source.gain is not None:
        unit, scale = normalise(source.x @ source.w_ih.T)
        dgain = (flat * unit.flatten(0, 1)).sum(0)  # (bptt.12)
        da = normalise_backward(da * source.gain, unit, scale)
        flat = da.flatten(0, 1)
    return DenseInput(
        x=da @ source.w_ih,  # (T, B, D)  (bptt.4)
        w_ih=flat.T @ source.x.flatten(0, 1),  # (G, D)  (bptt.5)
        b_ih=db_ih,
        gain=dgain,
    )


def project_embedding(source: DenseInput) -> Tensor:
    """Return (1 + V, G): what each of V tokens, their vectors x (V, D), brings to the gates.

    Token v is row v + 1. Row 0 is for id -1, no token at all: the zero vector, projected.
    """
    return multiply(_with_none(source))[0]  # (bptt.13)


def project_embedding_backward(dtable: Tensor, source: DenseInput) -> DenseInput:
    """Pull the gradient of the table back to the tokens' vectors, the weight, bias and gain."""
    d = multiply_backward(dtable[None], _with_none(source))  # (bptt.16)
    return d._replace(x=d.x[0, 1:])


def _with_none(source: DenseInput) -> DenseInput:
    """Prepend the zero vector to those of the tokens, as the inputs of a single time step."""
    x = torch.cat([torch.zeros_like(source.x[:1]), source.x])
    return source._replace(x=x[None])  # (1, 1 + V, D)


def _candidate(t: int, masks: Masks) -> tuple[Tensor, ...]:
    """Return the mask of the candidate at step t as an argument; nothing where none is drawn."""
    return () if masks.candidate is None else (masks.candidate[t],)


def _holds(t: int, masks: Masks) -> tuple[Tensor | None, ...]:
    return tuple(None if hold is None else hold[t] for hold in masks.hold)


def _held(new: Tensor, old: Tensor, hold: Tensor | None) -> Tensor:
    return new if hold is None else hold * old + (1 - hold) * new


def _released(d: Tensor, hold: Tensor | None) -> Tensor:
    return d if hold is None else (1 - hold) * d


def _kept(dread: Tensor, d: Tensor, hold: Tensor | None) -> Tensor:
    return dread if hold is None else dread + hold * d


def _sum(steps: list[WeightGradient]) -> Tensor:
    """Add up the steps' shares of one weight's gradient in a single product: (bptt.6)."""
    d = torch.cat([step.d for step in steps])  # (T·B, G)
    left = [step.left for step in steps if step.left is not None]
    return d.T @ torch.cat(left) if left else d.sum(0)
