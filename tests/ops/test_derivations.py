"""The numbers that the pages in math/ write out under "Check by hand" are those of the ops."""

import re

import torch
from torch import Tensor

from carousel.ops import attention, cross_entropy, flash_attention, gru, lstm, mlp, rnn
from carousel.ops.attention import AttentionMask
from carousel.ops.layer_norm import normalise, normalise_backward
from carousel.ops.positions import rotate, rotations
from carousel.ops.recurrence import DenseInput, Family, Saved, Weights, forward
from conftest import ROOT


def two_steps(family: Family) -> tuple[Weights, Saved, Tensor]:
    """One unit, all weights 1, from a zero state, input (1, 0); and a gradient of 1."""
    weights = {"w_hh": torch.ones(family.gates, 1, dtype=torch.float64)}
    source = DenseInput(torch.tensor([[[1.0]], [[0.0]]]).double(), weights["w_hh"])
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


def column(*numbers: float) -> Tensor:
    """One sequence, one head, one feature."""
    return torch.tensor(numbers, dtype=torch.float64).view(1, 1, -1, 1)


def test_numbers_of_the_fixed_window() -> None:
    ids, targets = torch.tensor([[-1, 0, 1]]), torch.tensor([[1, 0]])
    table, w, b = column(1, 0.5)[0, 0], torch.ones(1, 2).double(), torch.zeros(1).double()
    out = torch.tensor([[1.0], [-1.0]]).double()
    x = mlp.windows(mlp.embed(ids, table), 2)
    h = mlp.layer(x, w, b)
    losses, p = cross_entropy.forward(h @ out.T, targets)
    dz = cross_entropy.backward(torch.ones(1, 2).double(), p, targets)
    dx, dw, db = mlp.layer_backward(dz @ out, h, x, w)
    dtable = mlp.embed_backward(mlp.windows_backward(dx, 2), ids, 2)
    assert torch.equal(dx[..., 0], dx[..., 1])
    assert torch.equal(dtable.T, torch.stack([db, dx[0, 1, :1]], dim=1))
    taken = p.gather(-1, targets.unsqueeze(-1))
    numbers = rounded(*h[0], *taken[0], *losses[0], losses.sum(), *dz.abs().flatten())
    numbers |= rounded(*(dz @ out).abs()[0], *dx.abs().flatten(), *dw.abs()[0], *db)
    assert written("math/mlp/equations.md") == numbers


def test_numbers_of_attention_layer_norm_and_positions() -> None:
    q, k, v, sight = column(1, 1), column(1, 2), column(1, 3), AttentionMask(context=2)
    dy = column(0, 1)
    y, weights, trace = attention.forward(q, k, v, sight)
    dq, dk, dv, ds = attention.backward(dy, trace)
    assert y[0, 0, 0] == 1
    assert torch.equal(dv.flatten(), weights[0, 0, 1])
    assert torch.equal(dk, ds.mT[..., 1:])
    of_blocks, kept = flash_attention.forward(q, k, v, sight, block=1)
    torch.testing.assert_close(of_blocks, y, rtol=1e-15, atol=0)
    factor = torch.tensor(-1.0).exp()
    numbers = rounded(*weights[0, 0, 1], y[0, 0, 1], factor, factor + 1, factor + 3)
    numbers |= rounded(kept.log_total[0, 0, 1], *ds[0, 0, 1].abs(), dq[0, 0, 1])
    unit, scale = normalise(column(1, 2, 6).flatten())
    dunit = column(1, 0, 0).flatten()
    du = normalise_backward(dunit, unit, scale)
    numbers |= rounded(scale, *unit.abs(), (dunit * unit).mean().abs(), *du.abs())
    one = torch.tensor([[1.0, 0.0]] * 2, dtype=torch.float64)
    at_3, at_2 = turned = rotate(one, *rotations(torch.tensor([3, 2]), 2, torch.float64))
    numbers |= rounded(*turned.abs().flatten(), *(at_3 * at_2), at_3 @ at_2)
    assert written("math/attention/equations.md") == numbers
