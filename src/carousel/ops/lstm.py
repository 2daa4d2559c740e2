"""LSTM: one time step, and its backward pass derived by hand.

Derivation: math/lstm/equations.md; a label such as (lstm.3) is an equation there.
Gate order along G = 4H: i, f, g, o (as torch.nn.LSTM). Variants: lstm_variants.py.
Source: Hochreiter and Schmidhuber 1997; forget gate: Gers, Schmidhuber and Cummins 2000.
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
    i, f, o = a_i.sigmoid(), a_f.sigmoid(), a_o.sigmoid()  # (lstm.2)
    g = a_g.tanh()
    c = f * c_prev + i * g  # (lstm.3): the carousel
    tanh_c = c.tanh()
    h = o * tanh_c  # (lstm.4)
    return (h, c), (h_prev, c_prev, i, f, g, o, tanh_c, c)


def step_backward(
    dstate: State, cache: Cache, weights: Weights
) -> tuple[Tensor, State, list[WeightGradient]]:
    """Pull (dL/dh, dL/dc) of one step back to its projected input and to the state before it.

    dh sums what arrives from the output at this step and from step t+1;
    dc is what arrives from step t+1 alone: the path through h is added here.
    """
    dh, dc = dstate
    h_prev, c_prev, i, f, g, o, tanh_c, _ = cache
    dc = dc + dh * o * (1 - tanh_c * tanh_c)  # (lstm.5)
    da_i = dc * g * i * (1 - i)  # (lstm.6)
    da_f = dc * c_prev * f * (1 - f)
    da_g = dc * i * (1 - g * g)
    da_o = dh * tanh_c * o * (1 - o)
    da = torch.cat([da_i, da_f, da_g, da_o], dim=-1)  # (B, 4H)
    gradients = [WeightGradient("w_hh", da, h_prev)]  # (lstm.7)
    if "b_hh" in weights:
        gradients.append(WeightGradient("b_hh", da, None))
    return da, (da @ weights["w_hh"], dc * f), gradients  # (lstm.8)


LSTM = Family("lstm", gates=4, step=step, step_backward=step_backward)
