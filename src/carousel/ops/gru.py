"""GRU: one time step, with the reset gate after or before the recurrent product.

Derivation: math/gru/equations.md; a label such as (gru.3) is an equation there.
Gate order along G = 3H: r, z, n (as torch.nn.GRU); z keeps the old h.
Source: Cho et al. 2014 (reset before); Chung et al. 2014; reset after: as cuDNN and torch have it.
"""

import torch
from torch import Tensor

from carousel.ops.recurrence import Cache, Family, State, WeightGradient, Weights


def step(a: Tensor, state: State, weights: Weights) -> tuple[State, Cache]:
    """Advance by one time step; a (B, 3H) is x_t W_ihᵀ + b_ih, projected for all steps at once.

    The reset gate multiplies what the recurrent product says, its bias included.
    """
    (h_prev,) = state
    u = h_prev @ weights["w_hh"].T  # (B, 3H)  (gru.1)
    if "b_hh" in weights:
        u = u + weights["b_hh"]
    (a_r, a_z, a_n), (u_r, u_z, u_n) = a.chunk(3, dim=-1), u.chunk(3, dim=-1)
    r, z = (a_r + u_r).sigmoid(), (a_z + u_z).sigmoid()  # (gru.2)
    n = (a_n + r * u_n).tanh()  # (gru.3)
    h = (1 - z) * n + z * h_prev  # (gru.4)
    return (h,), (h_prev, r, z, n, u_n)


def step_backward(
    dstate: State, cache: Cache, weights: Weights
) -> tuple[Tensor, State, list[WeightGradient]]:
    """Pull dL/dh of one step back to its projected input and to the state before it."""
    (dh,) = dstate
    h_prev, r, z, n, u_n = cache
    dn = dh * (1 - z) * (1 - n * n)  # before the tanh  (gru.5)
    dr = dn * u_n * r * (1 - r)  # (gru.6)
    dz = dh * (h_prev - n) * z * (1 - z)
    da = torch.cat([dr, dz, dn], dim=-1)  # (B, 3H)
    du = torch.cat([dr, dz, dn * r], dim=-1)  # (B, 3H)  (gru.7): n reads u through r
    gradients = [WeightGradient("w_hh", du, h_prev)]  # (gru.8)
    if "b_hh" in weights:
        gradients.append(WeightGradient("b_hh", du, None))
    return da, (dh * z + du @ weights["w_hh"],), gradients  # (gru.9)


def step_reset_before(a: Tensor, state: State, weights: Weights) -> tuple[State, Cache]:
    """Advance by one time step; the reset gate multiplies the state that the candidate reads."""
    (h_prev,) = state
    w_n = weights["w_hh"].chunk(3)[2]  # (H, H): of the candidate
    w_rz = torch.cat(weights["w_hh"].chunk(3)[:2])  # (2H, H): of the gates
    if "b_hh" in weights:
        a = a + weights["b_hh"]
    a_r, a_z, a_n = a.chunk(3, dim=-1)
    u_r, u_z = (h_prev @ w_rz.T).chunk(2, dim=-1)
    r, z = (a_r + u_r).sigmoid(), (a_z + u_z).sigmoid()  # (gru.2)
    read = r * h_prev
    n = (a_n + read @ w_n.T).tanh()  # (gru.10)
    h = (1 - z) * n + z * h_prev  # (gru.4)
    return (h,), (h_prev, r, z, n, read)


def step_reset_before_backward(
    dstate: State, cache: Cache, weights: Weights
) -> tuple[Tensor, State, list[WeightGradient]]:
    """Pull dL/dh of one step back to its projected input and to the state before it."""
    (dh,) = dstate
    h_prev, r, z, n, read = cache
    w_r, w_z, w_n = weights["w_hh"].chunk(3)
    dn = dh * (1 - z) * (1 - n * n)  # (gru.5)
    dread = dn @ w_n  # (gru.11)
    dr = dread * h_prev * r * (1 - r)  # (gru.12)
    dz = dh * (h_prev - n) * z * (1 - z)
    da = torch.cat([dr, dz, dn], dim=-1)  # (B, 3H)
    none = 0 * dn  # w_hh multiplies two things: its rows r and z read h, its rows n read r ⊙ h
    gradients = [
        WeightGradient("w_hh", torch.cat([dr, dz, none], dim=-1), h_prev),  # (gru.13)
        WeightGradient("w_hh", torch.cat([none, none, dn], dim=-1), read),
    ]
    if "b_hh" in weights:
        gradients.append(WeightGradient("b_hh", da, None))
    return da, (dh * z + dread * r + dr @ w_r + dz @ w_z,), gradients  # (gru.14)


GRU = Family("gru", gates=3, step=step, step_backward=step_backward)
GRU_RESET_BEFORE = Family(
    "gru_reset_before",
    gates=3,
    step=step_reset_before,
    step_backward=step_reset_before_backward,
)
