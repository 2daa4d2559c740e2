"""LSTM: one time step, and its reverse derived by hand.

Derivation: math/lstm/equations.md; a label such as (lstm.3) is an equation there.
Gate order along G = 4H: i, f, g, o (as torch.nn.LSTM). The keys of the weights say what there is
beside w_hh and b_hh: peepholes w_ci, w_cf, w_co (H,), a projection w_hr (P, H), a mask (B, H).
Source: Hochreiter and Schmidhuber 1997; forget gate: Gers, Schmidhuber and Cummins 2000; peepholes:
Gers and Schmidhuber 2000; projection: Sak, Senior and Beaufays 2014; mask: Semeniuta et al. 2016.
"""

import torch
from torch import Tensor

from carousel.ops.recurrence import Cache, Family, State, WeightGradient, Weights


def step(a: Tensor, state: State, weights: Weights) -> tuple[State, Cache]:
    """Advance by one time step; a (B, 4H) is x_t W_ihᵀ + b_ih, projected for all steps at once."""
    h_prev, c_prev = state
    a = a + h_prev @ weights["w_hh"].T  # (B, 4H)  (lstm.1)
    if "b_hh" in weights:
        a = a + weights["b_hh"]
    a_i, a_f, a_g, a_o = a.chunk(4, dim=-1)  # each (B, H)
    if "w_ci" in weights:
        a_i = a_i + weights["w_ci"] * c_prev  # (lstm.9): the peepholes
        a_f = a_f + weights["w_cf"] * c_prev
    i, f = a_i.sigmoid(), a_f.sigmoid()  # (lstm.2)
    g = a_g.tanh()
    added = g * weights["mask"] if "mask" in weights else g  # (lstm.10): recurrent dropout
    c = f * c_prev + i * added  # (lstm.3): the carousel
    if "w_co" in weights:
        a_o = a_o + weights["w_co"] * c  # (lstm.9): this one sees the new cell
    o = a_o.sigmoid()  # (lstm.2)
    tanh_c = c.tanh()
    h = o * tanh_c  # (lstm.4)
    if "w_hr" in weights:
        h = h @ weights["w_hr"].T  # (B, P)  (lstm.11)
    return (h, c), (h_prev, c_prev, i, f, g, o, tanh_c, c)


def step_backward(
    dstate: State, cache: Cache, weights: Weights
) -> tuple[Tensor, State, list[WeightGradient]]:
    """Pull (dL/dh, dL/dc) of one step back to its projected input and to the state before it.

    dh sums what arrives from the output at this step and from step t+1;
    dc is what arrives from step t+1 alone: the path through h is added here.
    """
    dh, dc = dstate
    h_prev, c_prev, i, f, g, o, tanh_c, c = cache
    products = []
    if "w_hr" in weights:
        products.append(WeightGradient("w_hr", dh, o * tanh_c))  # (lstm.12)
        dh = dh @ weights["w_hr"]  # (B, H)
    da_o = dh * tanh_c * o * (1 - o)  # (lstm.6)
    dc = dc + dh * o * (1 - tanh_c * tanh_c)  # (lstm.5)
    if "w_co" in weights:
        dc = dc + da_o * weights["w_co"]  # (lstm.13)
        products.append(WeightGradient("w_co", da_o * c, None))
    dadded = dc * weights["mask"] if "mask" in weights else dc  # (lstm.15)
    da_i = dadded * g * i * (1 - i)  # (lstm.6)
    da_f = dc * c_prev * f * (1 - f)
    da_g = dadded * i * (1 - g * g)
    dc_prev = dc * f  # (lstm.8)
    if "w_ci" in weights:
        dc_prev = dc_prev + da_i * weights["w_ci"] + da_f * weights["w_cf"]  # (lstm.14)
        products += [
            WeightGradient("w_ci", da_i * c_prev, None),
            WeightGradient("w_cf", da_f * c_prev, None),
        ]
    da = torch.cat([da_i, da_f, da_g, da_o], dim=-1)  # (B, 4H)
    products.append(WeightGradient("w_hh", da, h_prev))  # (lstm.7)
    if "b_hh" in weights:
        products.append(WeightGradient("b_hh", da, None))
    return da, (da @ weights["w_hh"], dc_prev), products  # (lstm.8)


LSTM = Family("lstm", gates=4, step=step, step_backward=step_backward)
