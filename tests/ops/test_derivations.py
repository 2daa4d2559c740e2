"""The numbers that the pages in math/ write out under "Check by hand" are those of the ops."""

import re

import torch
from torch import Tensor

from carousel.ops import gru, lstm, rnn
from carousel.ops.recurrence import Dense, Family, Trace, Weights, forward
from conftest import ROOT


def two_steps(family: Family) -> tuple[Weights, Trace, Tensor]:
    """One unit, all weights 1, from a zero state, input (1, 0); and a gradient of 1."""
    weights = {"w_hh": torch.ones(family.gates, 1, dtype=torch.float64)}
    source = Dense(torch.tensor([[[1.0]], [[0.0]]]).double(), weights["w_hh"])
    one = torch.ones(1, 1, dtype=torch.float64)
    state = (0 * one,) * (2 if family is lstm.LSTM else 1)
    _, _, trace = forward(family, source, state, weights)
    return weights, trace, one


def written(page: str) -> set[str]:
    section = (ROOT / page).read_text("utf-8").split("## Check by hand")[1].split("\n## ")[0]
    return set(re.findall(r"\d\.\d{6}", section))


def rounded(*numbers: Tensor) -> set[str]:
    return {f"{number.item():.6f}" for number in numbers}


def test_numbers_of_the_rnn() -> None:
    weights, trace, one = two_steps(rnn.RNN_TANH)
    (_, slope_1), (h_1, slope_2) = trace.caches
    h_2 = (1 - slope_2).sqrt()
    da_2, (dh_1,), _ = rnn.step_backward((one,), trace.caches[1], weights)
    da_1, _, _ = rnn.step_backward((dh_1,), trace.caches[0], weights)
    numbers = rounded(h_1, h_2, da_2, dh_1, slope_1, da_1, da_2 * h_1)
    assert written("math/rnn/equations.md") == numbers
    _, trace, _ = two_steps(rnn.RNN_RELU)
    (_, slope_1), (h_1, slope_2) = trace.caches
    assert {h_1.item(), slope_1.item(), slope_2.item()} == {1}


def test_numbers_of_the_gru_in_both_orders_of_its_reset_gate() -> None:
    for family in (gru.GRU, gru.GRU_RESET_BEFORE):
        weights, trace, one = two_steps(family)
        (_, r_1, z_1, n_1, _), (h_1, r_2, z_2, n_2, _) = trace.caches
        h_2 = (1 - z_2) * n_2 + z_2 * h_1
        da_2, (dh_1,), _ = family.step_backward((one,), trace.caches[1], weights)
        dr, dz, dn = da_2.T
        numbers = rounded(r_1, z_1, n_1, h_1, r_2, z_2, r_2 * h_1, n_2, h_2, dr, dz, dn)
        numbers |= rounded(r_2 * dn, dh_1)
        assert written("math/gru/equations.md") == numbers


def test_numbers_of_the_lstm() -> None:
    weights, trace, one = two_steps(lstm.LSTM)
    first, second = trace.caches
    _, _, i_1, _, g_1, o_1, tanh_c_1, c_1 = first
    h_1, _, i_2, f_2, g_2, o_2, tanh_c_2, c_2 = second
    assert h_1 == o_1 * tanh_c_1
    da_2, (dh_1, dc_1), _ = lstm.step_backward((one, 0 * one), second, weights)
    numbers = rounded(i_1, g_1, c_1, tanh_c_1, h_1, i_2, g_2, c_2, tanh_c_2, o_2 * tanh_c_2)
    numbers |= rounded(*da_2.T, dh_1, dc_1 / f_2, dc_1)
    assert written("math/lstm/equations.md") == numbers
