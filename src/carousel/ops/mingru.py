"""minGRU: a GRU whose gate and candidate read the input alone; one time step and its backward pass.

Derivation: math/mingru/equations.md; a label such as (mingru.2) is an equation there.
Gate order along G = 2H: z, n; z takes in the candidate n.
Source: Feng et al. 2024, "Were RNNs all we needed?", section 3.1.
"""

import torch
from torch import Tensor

from carousel.ops.recurrence import Cache, Family, State, WeightGradient, Weights


def step(a: Tensor, state: State, weights: Weights) -> tuple[State, Cache]:
    """Advance by one time step; a (B, 2H) is x_t W_ihᵀ + b_ih, projected for all steps at once."""
    (h_prev,) = state
    a_z, n = a.chunk(2, dim=-1)  # each (B, H)  (mingru.1)
    z = a_z.sigmoid()  # (mingru.2)
    h = (1 - z) * h_prev + z * n  # (mingru.3)
    return (h,), (h_prev, z, n)


def step_backward(
    dstate: State, cache: Cache, weights: Weights
) -> tuple[Tensor, State, list[WeightGradient]]:
    """Pull dL/dh of one step back to its projected input and to the state before it."""
    (dh,) = dstate
    h_prev, z, n = cache
    dz = dh * (n - h_prev) * z * (1 - z)  # (mingru.4)
    dn = dh * z  # (mingru.5)
    return torch.cat([dz, dn], dim=-1), (dh * (1 - z),), []  # (mingru.6)


MINGRU = Family("mingru", gates=2, step=step, step_backward=step_backward)
