"""Vanilla RNN: one time step, with tanh or with ReLU, and its backward pass derived by hand.

Derivation: math/rnn/equations.md; a label such as (rnn.2) is an equation there.
Source: Elman 1990; the ReLU: Le, Jaitly and Hinton 2015.
"""

from torch import Tensor

from carousel.ops.recurrence import Cache, Family, State, WeightGradient, Weights


def step_tanh(a: Tensor, state: State, weights: Weights) -> tuple[State, Cache]:
    """Advance by one time step; a (B, H) is x_t W_ihᵀ + b_ih, projected for all steps at once."""
    (h_prev,) = state
    h = preactivation(a, h_prev, weights).tanh()  # (rnn.2)
    return (h,), (h_prev, 1 - h * h)  # tanh' = 1 - tanh²


def step_relu(a: Tensor, state: State, weights: Weights) -> tuple[State, Cache]:
    """Advance by one time step; a (B, H) is x_t W_ihᵀ + b_ih, projected for all steps at once."""
    (h_prev,) = state
    h = preactivation(a, h_prev, weights).relu()  # (rnn.3)
    return (h,), (h_prev, (h > 0).to(h.dtype))  # relu' is 0 at 0, as torch has it


def preactivation(a: Tensor, h_prev: Tensor, weights: Weights) -> Tensor:
    """Add what the last hidden state says."""
    a = a + h_prev @ weights["w_hh"].T  # (B, H)  (rnn.1)
    return a + weights["b_hh"] if "b_hh" in weights else a


def step_backward(
    dstate: State, cache: Cache, weights: Weights
) -> tuple[Tensor, State, list[WeightGradient]]:
    """Pull dL/dh of one step back to its projected input and to the state before it."""
    (dh,) = dstate
    h_prev, slope = cache
    da = dh * slope  # (B, H)  (rnn.4)
    gradients = [WeightGradient("w_hh", da, h_prev)]  # (rnn.5)
    if "b_hh" in weights:
        gradients.append(WeightGradient("b_hh", da, None))
    return da, (da @ weights["w_hh"],), gradients  # (rnn.6)


RNN_TANH = Family("rnn_tanh", gates=1, step=step_tanh, step_backward=step_backward)
RNN_RELU = Family("rnn_relu", gates=1, step=step_relu, step_backward=step_backward)
