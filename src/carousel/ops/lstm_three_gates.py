"""LSTMs of three gates: no forget gate (1997), or one that is what the input gate leaves; reverses.

Derivation: math/lstm/variants.md; a label such as (lstm3.2) is an equation there.
Gate order along G = 3H: i, g, o.
Source: Hochreiter and Schmidhuber 1997 (with the full gradient); coupled gates: Greff et al. 2017.
"""

import torch
from torch import Tensor

from carousel.ops.recurrence import Cache, Family, State, WeightGradient, Weights


def step_1997(a: Tensor, state: State, weights: Weights) -> tuple[State, Cache]:
    """Advance by one time step; what is in the cell stays there: the constant error carousel."""
    h_prev, c_prev = state
    i, g, o = gates(a, h_prev, weights)
    c = c_prev + i * g  # (lstm3.2)
    tanh_c = c.tanh()
    return (o * tanh_c, c), (h_prev, i, g, o, tanh_c)  # (lstm3.4)


def step_1997_backward(
    dstate: State, cache: Cache, weights: Weights
) -> tuple[Tensor, State, list[WeightGradient]]:
    """Pull (dL/dh, dL/dc) of one step back to its projected input and to the state before it."""
    dh, dc = dstate
    h_prev, i, g, o, tanh_c = cache
    dc = dc + dh * o * (1 - tanh_c * tanh_c)  # (lstm3.5)
    da_i = dc * g * i * (1 - i)  # (lstm3.6)
    da_g = dc * i * (1 - g * g)
    da_o = dh * tanh_c * o * (1 - o)
    da, dh_prev, products = gates_backward(da_i, da_g, da_o, h_prev, weights)
    return da, (dh_prev, dc), products  # (lstm3.7): unchanged, however many steps


def step_coupled(a: Tensor, state: State, weights: Weights) -> tuple[State, Cache]:
    """Advance by one time step; the cell forgets as much as it takes in: f = 1 - i."""
    h_prev, c_prev = state
    i, g, o = gates(a, h_prev, weights)
    c = (1 - i) * c_prev + i * g  # (lstm3.3)
    tanh_c = c.tanh()
    return (o * tanh_c, c), (h_prev, c_prev, i, g, o, tanh_c)  # (lstm3.4)


def step_coupled_backward(
    dstate: State, cache: Cache, weights: Weights
) -> tuple[Tensor, State, list[WeightGradient]]:
    """Pull (dL/dh, dL/dc) of one step back to its projected input and to the state before it."""
    dh, dc = dstate
    h_prev, c_prev, i, g, o, tanh_c = cache
    dc = dc + dh * o * (1 - tanh_c * tanh_c)  # (lstm3.5)
    da_i = dc * (g - c_prev) * i * (1 - i)  # (lstm3.8)
    da_g = dc * i * (1 - g * g)  # (lstm3.6)
    da_o = dh * tanh_c * o * (1 - o)
    da, dh_prev, products = gates_backward(da_i, da_g, da_o, h_prev, weights)
    return da, (dh_prev, dc * (1 - i)), products  # (lstm3.9)


def gates(a: Tensor, h_prev: Tensor, weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
    """Return i, g, o, each (B, H); a (B, 3H) is x_t W_ihᵀ + b_ih."""
    a = a + h_prev @ weights["w_hh"].T  # (B, 3H)  (lstm3.1)
    if "b_hh" in weights:
        a = a + weights["b_hh"]
    a_i, a_g, a_o = a.chunk(3, dim=-1)
    return a_i.sigmoid(), a_g.tanh(), a_o.sigmoid()


def gates_backward(
    da_i: Tensor, da_g: Tensor, da_o: Tensor, h_prev: Tensor, weights: Weights
) -> tuple[Tensor, Tensor, list[WeightGradient]]:
    """Return da (B, 3H), dh_prev (B, H), and the shares of the weights' gradients."""
    da = torch.cat([da_i, da_g, da_o], dim=-1)
    products = [WeightGradient("w_hh", da, h_prev)]  # (lstm3.10)
    if "b_hh" in weights:
        products.append(WeightGradient("b_hh", da, None))
    return da, da @ weights["w_hh"], products


LSTM_1997 = Family("lstm_1997", gates=3, step=step_1997, step_backward=step_1997_backward)
LSTM_COUPLED = Family(
    "lstm_coupled", gates=3, step=step_coupled, step_backward=step_coupled_backward
)
