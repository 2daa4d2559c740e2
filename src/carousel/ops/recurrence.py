"""The one time loop: any recurrent family forward, and backward through time.

A family is two pure functions, one time step and its hand-derived reverse; everything that all
families share stands here once. Derivation: math/recurrence/equations.md.
Ops are time-major: T time steps, B sequences, D input features, G = gates · H features.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

State = tuple[Tensor, ...]  # (h,) or (h, c), each (B, H); the first one is the output
Weights = dict[str, Tensor]  # w_hh (G, H), b_hh (G,): the keys present say which variant it is
Cache = tuple[Tensor, ...]  # what a step keeps for its reverse


class Dense(NamedTuple):
    """An input not yet projected: x (T, B, D), to be multiplied by w_ih (G, D) and shifted by b_ih.

    Handed over unprojected so that a kernel may fuse the projection with the loop.
    """

    x: Tensor
    w_ih: Tensor
    b_ih: Tensor | None


class Trace(NamedTuple):
    """What a forward pass keeps for its reverse, and what analysis looks into."""

    source: Dense
    caches: list[Cache]


class Product(NamedTuple):
    """One step's share of a weight's gradient: dᵀ·left, or Σ d for a bias; see (bptt.6)."""

    weight: str
    d: Tensor
    left: Tensor | None


class Family(NamedTuple):
    """A recurrence: one step a_t, s_{t-1} → s_t, and the reverse of it."""

    name: str
    gates: int
    step: Callable[[Tensor, State, Weights], tuple[State, Cache]]
    step_backward: Callable[[State, Cache, Weights], tuple[Tensor, State, list[Product]]]


def forward(
    family: Family, source: Dense, state: State, weights: Weights
) -> tuple[Tensor, State, Trace]:
    """Run T steps: return the outputs (T, B, H), the state after the last, and the trace."""
    outputs, caches = [], []
    for a_t in project(source).unbind(0):  # unbind: indexing a[t] makes autograd ten times slower
        state, cache = family.step(a_t, state, weights)  # (bptt.2)
        outputs.append(state[0])
        caches.append(cache)
    return torch.stack(outputs), state, Trace(source, caches)


def backward(
    family: Family, dy: Tensor, dstate: State, trace: Trace, weights: Weights
) -> tuple[Dense, State, Weights]:
    """Backpropagation through time: the gradients of the source, the initial state, the weights.

    dy (T, B, H) and dstate are the gradients of the loss with respect to what forward returned.
    What is truly recurrent runs in the loop; each weight's gradient is one product after it.
    """
    da: list[Tensor] = []
    shares: dict[str, list[Product]] = {name: [] for name in weights}
    for dy_t, cache in zip(reversed(dy.unbind(0)), reversed(trace.caches), strict=True):
        dstate = (dstate[0] + dy_t, *dstate[1:])  # (bptt.3): h_t is output and next step's input
        da_t, dstate, products = family.step_backward(dstate, cache, weights)
        da.append(da_t)
        for product in products:
            shares[product.weight].append(product)
    dsource = project_backward(torch.stack(da[::-1]), trace.source)
    return dsource, dstate, {name: _sum(steps) for name, steps in shares.items()}


def project(source: Dense) -> Tensor:
    """Return a (T, B, G), the input's part of the gates: one product for all steps."""
    a = source.x @ source.w_ih.T  # (T, B, G)  (bptt.1)
    return a if source.b_ih is None else a + source.b_ih


def project_backward(da: Tensor, source: Dense) -> Dense:
    """Pull dL/da back to the input, its weight and its bias."""
    flat = da.flatten(0, 1)  # (T·B, G)
    return Dense(
        x=da @ source.w_ih,  # (T, B, D)  (bptt.4)
        w_ih=flat.T @ source.x.flatten(0, 1),  # (G, D)  (bptt.5)
        b_ih=None if source.b_ih is None else flat.sum(0),
    )


def _sum(steps: list[Product]) -> Tensor:
    """Add up the steps' shares of one weight's gradient in a single product: (bptt.6)."""
    d = torch.cat([step.d for step in steps])  # (T·B, G)
    left = [step.left for step in steps if step.left is not None]
    return d.T @ torch.cat(left) if left else d.sum(0)
