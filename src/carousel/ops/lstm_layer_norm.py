"""Layer-normalised LSTM: one time step, and its reverse derived by hand.

Derivation: math/lstm/layer_norm.md; a label such as (lnlstm.2) is an equation there.
Gate order along G = 4H: i, f, g, o. `DenseInput` normalises the input's product before the loop.
Source: Ba, Kiros and Hinton 2016, supplementary material, equations 20 to 22.
"""

import torch
from torch import Tensor

from carousel.ops.layer_norm import normalise, normalise_backward
from carousel.ops.recurrence import Cache, Family, State, WeightGradient, Weights


def step(a: Tensor, state: State, weights: Weights) -> tuple[State, Cache]:
    """Advance by one time step; a (B, 4H) is LN(x_t W_ihᵀ) ⊙ gain + b_ih.

    Weights beside w_hh and b_hh: gain_hh (4H,) of the recurrent product, gain_c and shift_c (H,) of
    the cell on its way out.
    """
    h_prev, c_prev = state
    unit_u, scale_u = normalise(h_prev @ weights["w_hh"].T)  # (B, 4H)  (lnlstm.1)
    a = a + unit_u * weights["gain_hh"]
    if "b_hh" in weights:
        a = a + weights["b_hh"]
    a_i, a_f, a_g, a_o = a.chunk(4, dim=-1)
    i, f, o = a_i.sigmoid(), a_f.sigmoid(), a_o.sigmoid()  # (lnlstm.2)
    g = a_g.tanh()
    c = f * c_prev + i * g  # (lnlstm.3): the carousel itself is not normalised
    unit_c, scale_c = normalise(c)
    out = (unit_c * weights["gain_c"] + weights["shift_c"]).tanh()  # (lnlstm.4)
    cache = (h_prev, c_prev, i, f, g, o, out, unit_u, scale_u, unit_c, scale_c)
    return (o * out, c), cache  # (lnlstm.5)


def step_backward(
    dstate: State, cache: Cache, weights: Weights
) -> tuple[Tensor, State, list[WeightGradient]]:
    """Pull (dL/dh, dL/dc) of one step back to its projected input and to the state before it."""
    dh, dc = dstate
    h_prev, c_prev, i, f, g, o, out, unit_u, scale_u, unit_c, scale_c = cache
    dv = dh * o * (1 - out * out)  # before the tanh  (lnlstm.6)
    dc = dc + normalise_backward(dv * weights["gain_c"], unit_c, scale_c)  # (lnlstm.7)
    da = torch.cat(  # (B, 4H)  (lnlstm.8)
        [
            dc * g * i * (1 - i),
            dc * c_prev * f * (1 - f),
            dc * i * (1 - g * g),
            dh * out * o * (1 - o),
        ],
        dim=-1,
    )
    du = normalise_backward(da * weights["gain_hh"], unit_u, scale_u)  # (lnlstm.9)
    products = [
        WeightGradient("w_hh", du, h_prev),  # (lnlstm.10)
        WeightGradient("gain_hh", da * unit_u, None),
        WeightGradient("gain_c", dv * unit_c, None),
        WeightGradient("shift_c", dv, None),
    ]
    if "b_hh" in weights:
        products.append(WeightGradient("b_hh", da, None))
    return da, (du @ weights["w_hh"], dc * f), products  # (lnlstm.11)


LSTM_LAYER_NORM = Family("lstm_layer_norm", gates=4, step=step, step_backward=step_backward)
