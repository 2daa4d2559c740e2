"""Variants of the LSTM, each equal to ops/lstm.py where it reduces to it.

- `LSTM_WITH_OPTIONS`: peepholes, a projection of h, a mask on what is added to the cell.
  Gate order i, f, g, o. math/lstm/equations.md, labels (lstm.9) to (lstm.15).
- `LSTM_1997` has no forget gate; `LSTM_COUPLED` forgets what the input gate leaves.
  Gate order i, g, o. math/lstm/variants.md, labels (lstm3.N).
- `LSTM_LAYER_NORM` normalises the recurrent product and the cell on its way out; `DenseInput`
  normalises the input's product. Gate order i, f, g, o. math/lstm/layer_norm.md, (lnlstm.N).

Source: peepholes: Gers and Schmidhuber 2000; projection: Sak, Senior and Beaufays 2014; mask:
Semeniuta et al. 2016; no forget gate: Hochreiter and Schmidhuber 1997 (with the full gradient);
coupled gates: Greff et al. 2017; layer norm: Ba, Kiros and Hinton 2016, supplementary material,
equations 20 to 22.
"""

import torch
from torch import Tensor

from carousel.ops.layer_norm import normalise, normalise_backward
from carousel.ops.recurrence import Cache, Family, State, WeightGradient, Weights


def step_with_options(
    a: Tensor, state: State, weights: Weights, mask: Tensor | None = None
) -> tuple[State, Cache]:
    """Advance by one time step; a (B, 4H) is x_t W_ihᵀ + b_ih, projected for all steps at once.

    The keys of the weights say what there is beside w_hh and b_hh: peepholes w_ci, w_cf, w_co (H,),
    a projection w_hr (P, H). mask (B, H) multiplies what the step would add to the cell.
    """
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
    added = g if mask is None else g * mask  # (lstm.10): recurrent dropout
    c = f * c_prev + i * added  # (lstm.3): the carousel
    if "w_co" in weights:
        a_o = a_o + weights["w_co"] * c  # (lstm.9): this one sees the new cell
    o = a_o.sigmoid()  # (lstm.2)
    tanh_c = c.tanh()
    h = o * tanh_c  # (lstm.4)
    if "w_hr" in weights:
        h = h @ weights["w_hr"].T  # (B, P)  (lstm.11)
    return (h, c), (h_prev, c_prev, i, f, g, o, tanh_c, c)


def step_with_options_backward(
    dstate: State, cache: Cache, weights: Weights, mask: Tensor | None = None
) -> tuple[Tensor, State, list[WeightGradient]]:
    """Pull (dL/dh, dL/dc) of one step back to its projected input and to the state before it.

    dh sums what arrives from the output at this step and from step t+1;
    dc is what arrives from step t+1 alone: the path through h is added here.
    """
    dh, dc = dstate
    h_prev, c_prev, i, f, g, o, tanh_c, c = cache
    gradients = []
    if "w_hr" in weights:
        gradients.append(WeightGradient("w_hr", dh, o * tanh_c))  # (lstm.12)
        dh = dh @ weights["w_hr"]  # (B, H)
    da_o = dh * tanh_c * o * (1 - o)  # (lstm.6)
    dc = dc + dh * o * (1 - tanh_c * tanh_c)  # (lstm.5)
    if "w_co" in weights:
        dc = dc + da_o * weights["w_co"]  # (lstm.13)
        gradients.append(WeightGradient("w_co", da_o * c, None))
    dadded = dc if mask is None else dc * mask  # (lstm.15)
    da_i = dadded * g * i * (1 - i)  # (lstm.6)
    da_f = dc * c_prev * f * (1 - f)
    da_g = dadded * i * (1 - g * g)
    dc_prev = dc * f  # (lstm.8)
    if "w_ci" in weights:
        dc_prev = dc_prev + da_i * weights["w_ci"] + da_f * weights["w_cf"]  # (lstm.14)
        gradients += [
            WeightGradient("w_ci", da_i * c_prev, None),
            WeightGradient("w_cf", da_f * c_prev, None),
        ]
    da = torch.cat([da_i, da_f, da_g, da_o], dim=-1)  # (B, 4H)
    gradients.append(WeightGradient("w_hh", da, h_prev))  # (lstm.7)
    if "b_hh" in weights:
        gradients.append(WeightGradient("b_hh", da, None))
    return da, (da @ weights["w_hh"], dc_prev), gradients  # (lstm.8)


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
    da, dh_prev, gradients = gates_backward(da_i, da_g, da_o, h_prev, weights)
    return da, (dh_prev, dc), gradients  # (lstm3.7): unchanged, however many steps


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
    da, dh_prev, gradients = gates_backward(da_i, da_g, da_o, h_prev, weights)
    return da, (dh_prev, dc * (1 - i)), gradients  # (lstm3.9)


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
    gradients = [WeightGradient("w_hh", da, h_prev)]  # (lstm3.10)
    if "b_hh" in weights:
        gradients.append(WeightGradient("b_hh", da, None))
    return da, da @ weights["w_hh"], gradients


def step_layer_norm(a: Tensor, state: State, weights: Weights) -> tuple[State, Cache]:
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


def step_layer_norm_backward(
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
    gradients = [
        WeightGradient("w_hh", du, h_prev),  # (lnlstm.10)
        WeightGradient("gain_hh", da * unit_u, None),
        WeightGradient("gain_c", dv * unit_c, None),
        WeightGradient("shift_c", dv, None),
    ]
    if "b_hh" in weights:
        gradients.append(WeightGradient("b_hh", da, None))
    return da, (du @ weights["w_hh"], dc * f), gradients  # (lnlstm.11)


LSTM_WITH_OPTIONS = Family(
    "lstm_with_options",
    gates=4,
    step=step_with_options,
    step_backward=step_with_options_backward,
)
LSTM_1997 = Family("lstm_1997", gates=3, step=step_1997, step_backward=step_1997_backward)
LSTM_COUPLED = Family(
    "lstm_coupled", gates=3, step=step_coupled, step_backward=step_coupled_backward
)
LSTM_LAYER_NORM = Family(
    "lstm_layer_norm",
    gates=4,
    step=step_layer_norm,
    step_backward=step_layer_norm_backward,
)
