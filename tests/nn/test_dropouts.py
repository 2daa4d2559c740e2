"""What the dropouts draw: the right share, as long as they should, scaled; nothing in use."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from twins import D, T, normal, wide

import carousel

p = 0.3
ROWS, UNITS = 200, 100


def lstm(**regularization: float) -> Any:
    torch.manual_seed(0)
    return wide(carousel.LSTM(D, UNITS, dtype=torch.float64, **regularization))


def is_share(marked: Tensor, share: float) -> bool:
    """Whether so many are marked, within 4 standard deviations."""
    spread = math.sqrt(share * (1 - share) / marked.numel())
    return abs(marked.double().mean().item() - share) < 4 * spread


def test_zoneout_holds_h_and_c_each_on_its_own_at_each_step() -> None:
    layer, state = lstm(zoneout=p), (normal(1, ROWS, UNITS), normal(1, ROWS, UNITS))
    x = normal(1, ROWS, D)
    y_1, (h_1, c_1) = layer(x, state)
    _, (h_2, c_2) = layer(x, (h_1, c_1))
    held = [h_1 == state[0], c_1 == state[1], h_2 == h_1, c_2 == c_1]
    assert torch.equal(y_1, h_1)  # the output is what is kept
    for k, one in enumerate(held):
        assert is_share(one, p)
        for other in held[k + 1 :]:
            assert is_share(one & other, p * p)


def test_zoneout_is_drawn_anew_at_each_step_of_one_call() -> None:
    h_0 = normal(1, ROWS, UNITS)
    y, _ = lstm(zoneout=p)(normal(2, ROWS, D), (h_0, h_0))
    held = y == torch.cat([h_0, y[:1]])
    assert is_share(held, p)
    assert is_share(held[0] & held[1], p * p)


def test_zoneout_in_use_is_its_expectation() -> None:
    layer, plain = lstm(zoneout=p).eval(), lstm()
    x, state = normal(1, 5, D), (normal(1, 5, UNITS), normal(1, 5, UNITS))
    _, got = layer(x, state)
    _, new = plain(x, state)
    want = [p * old + (1 - p) * fresh for old, fresh in zip(state, new, strict=True)]
    torch.testing.assert_close(list(got), want, rtol=0, atol=1e-15)
    drawn = torch.stack([layer.train()(x, state)[1][1] for _ in range(400)]).mean(0)
    share = (drawn - got[1]).abs() / (new[1] - state[1]).abs()  # of one draw's swing
    assert (share < 5 * math.sqrt(p * (1 - p) / 400)).double().mean() > 0.999


def test_recurrent_dropout_stops_what_is_added_at_each_step() -> None:
    layer, x = lstm(recurrent_dropout=p), normal(2, ROWS, D)
    zeros = torch.zeros(1, ROWS, UNITS, dtype=torch.float64)
    _, (_, c_1) = layer(x[:1], (zeros, zeros))
    assert is_share(c_1 == 0, p)
    _, (_, c_2) = layer(x, (zeros, zeros))
    assert is_share(c_2 == 0, p * p)
    _, (_, whole) = lstm()(x[:1], (zeros, zeros))
    kept = c_1 != 0
    torch.testing.assert_close(c_1[kept], whole[kept] / (1 - p), rtol=1e-12, atol=0)


def test_variational_dropout_hides_the_same_inputs_throughout() -> None:
    torch.manual_seed(0)
    layer = wide(carousel.LSTM(40, 6, dtype=torch.float64, variational_dropout=p))
    torch.nn.init.zeros_(layer.weight_hh_l0)  # nothing to hide there
    x = normal(T, ROWS, 40)
    y, _ = layer(x)
    (dx,) = torch.autograd.grad(y.sum(), x)
    seen = (dx != 0).any(0)  # (B, D)
    assert torch.equal(dx != 0, seen.expand(T, -1, -1))
    assert is_share(~seen, p)
    assert not torch.equal(seen[0], seen[1])
    want, _ = layer.eval()(x * seen / (1 - p))
    torch.testing.assert_close(y, want, rtol=0, atol=1e-12)


def test_variational_dropout_hides_the_same_units_throughout() -> None:
    layer, x = lstm(variational_dropout=p), torch.zeros(T, 1, D, dtype=torch.float64)
    state = torch.randn(2, 1, 1, UNITS, dtype=torch.float64)
    y, _ = layer(x, tuple(state))
    (dw,) = torch.autograd.grad(y.sum(), layer.weight_hh_l0)
    seen = (dw != 0).any(0)  # (H,): a unit seen at any step has left its trace
    assert 0.5 < seen.double().mean() < 0.9
    twin = lstm()
    with torch.no_grad():
        twin.weight_hh_l0 *= seen.double() / (1 - p)
    want, _ = twin(x, tuple(state))
    torch.testing.assert_close(y, want, rtol=0, atol=1e-12)


def test_variational_dropout_differs_from_row_to_row() -> None:
    layer, h_0 = lstm(variational_dropout=p), normal(1, ROWS, UNITS)
    y, _ = layer(normal(1, ROWS, D), (h_0, torch.zeros_like(h_0)))
    (dh_0,) = torch.autograd.grad(y.sum(), h_0)
    assert is_share(dh_0 == 0, p)
    assert not torch.equal(dh_0[0, 0] == 0, dh_0[0, 1] == 0)


@pytest.mark.parametrize("name", ["recurrent_dropout", "variational_dropout"])
def test_in_use_nothing_is_dropped(name: str) -> None:
    layer, x = lstm(**{name: p}), normal(T, 3, D)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    assert torch.equal(layer.eval()(x)[0], lstm()(x)[0])


@pytest.mark.parametrize("name", ["zoneout", "recurrent_dropout", "variational_dropout"])
def test_the_same_seed_draws_the_same(name: str) -> None:
    layer, x, drawn = lstm(**{name: p}), normal(T, 3, D), []
    for _ in range(2):
        torch.manual_seed(5)
        drawn.append(layer(x)[0])
    assert torch.equal(*drawn)
