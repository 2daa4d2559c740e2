"""Variants of the LSTM are the plain one where they reduce to it: outputs, states and gradients."""

from typing import Any

import pytest
import torch
from torch import Tensor

from carousel.ops.lstm import LSTM
from carousel.ops.lstm_variants import LSTM_1997, LSTM_COUPLED, LSTM_WITH_OPTIONS
from carousel.ops.recurrence import NO_MASKS, DenseInput, Family, Masks, Weights, backward, forward

T, B, D, H = 4, 3, 2, 5
PLAIN = ("w_hh", "b_hh")
SOURCE = ("x", "w_ih", "b_ih")


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.fixture
def inputs() -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "source": DenseInput(normal(T, B, D), normal(4 * H, D), normal(4 * H)),
        "state": (normal(B, H), normal(B, H)),
        "weights": {"w_hh": normal(4 * H, H), "b_hh": normal(4 * H)},
        "dy": normal(T, B, H),
        "dstate": (normal(B, H), normal(B, H)),
    }


def results(
    family: Family, inputs: dict[str, Any], options: Weights, masks: Masks = NO_MASKS
) -> dict[str, Tensor]:
    """Outputs, last state and the gradients of source, state and the plain weights."""
    weights = inputs["weights"] | options
    y, last, trace = forward(family, inputs["source"], inputs["state"], weights, masks)
    dsource, dstate, dweights = backward(
        family, inputs["dy"], inputs["dstate"], trace, weights, masks
    )
    named = {"y": y, "h_n": last[0], "c_n": last[1], "dh_0": dstate[0], "dc_0": dstate[1]}
    named |= {f"d{name}": getattr(dsource, name) for name in SOURCE}
    return named | {f"d{name}": dweights[name] for name in PLAIN}


ZEROS = {name: torch.zeros(H, dtype=torch.float64) for name in ("w_ci", "w_cf", "w_co")}
IDENTITY = {"w_hr": torch.eye(H, dtype=torch.float64)}
ONES = Masks(candidate=torch.ones(T, B, H, dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "masks"),
    [({}, NO_MASKS), (ZEROS, NO_MASKS), (IDENTITY, NO_MASKS), ({}, ONES), (ZEROS | IDENTITY, ONES)],
    ids=["none", "peepholes of zero", "projection of identity", "mask of ones", "all"],
)
def test_options_that_do_nothing_leave_the_plain_lstm(
    options: Weights, masks: Masks, inputs: dict[str, Any]
) -> None:
    want = results(LSTM, inputs, {})
    got = results(LSTM_WITH_OPTIONS, inputs, options, masks)
    for name, tensor in want.items():
        torch.testing.assert_close(got[name], tensor, rtol=0, atol=1e-13, msg=name)


@pytest.mark.parametrize("name", ["w_ci", "w_cf", "w_co", "w_hr", "candidate"])
def test_options_that_do_something_are_seen(name: str, inputs: dict[str, Any]) -> None:
    """Else the test above would show nothing."""
    options, masks = {**ZEROS, **IDENTITY}, ONES
    if name == "candidate":
        masks = Masks(candidate=ONES.candidate * 1.01)
    else:
        options[name] = options[name] + 0.01
    want = results(LSTM, inputs, {})
    got = results(LSTM_WITH_OPTIONS, inputs, options, masks)
    assert (got["y"] - want["y"]).abs().max() > 1e-6
    assert (got["dw_ih"] - want["dw_ih"]).abs().max() > 1e-6


@pytest.mark.parametrize("family", [LSTM_1997, LSTM_COUPLED], ids=lambda family: family.name)
def test_three_gates_are_four_whose_forget_gate_is_given(
    family: Family, inputs: dict[str, Any]
) -> None:
    """Step by step: f is 1 in the LSTM of 1997, and 1 - i where the gates are coupled."""
    torch.manual_seed(1)
    a_i, a_g, a_o = (normal(B, H) for _ in range(3))
    large = torch.full((B, H), 800.0, dtype=torch.float64)  # σ is 1
    a_f = large if family is LSTM_1997 else -a_i
    zero = torch.zeros(4 * H, H, dtype=torch.float64)
    state = inputs["state"]
    (h, c), _ = family.step(torch.cat([a_i, a_g, a_o], -1), state, {"w_hh": zero[: 3 * H]})
    (h_4, c_4), _ = LSTM.step(torch.cat([a_i, a_f, a_g, a_o], -1), state, {"w_hh": zero})
    torch.testing.assert_close((h, c), (h_4, c_4), rtol=0, atol=1e-13)
