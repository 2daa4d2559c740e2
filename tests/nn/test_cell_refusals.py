"""What a cell does not take: refused with torch's kind of error, and in clearer words."""

from typing import Any

import pytest
import torch
from refusing import SIZES, refused, states, zeros
from torch import Tensor, nn
from twins import CELLS, B, D, H, T, twins

import carousel

X = torch.zeros(T, B, D)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"hidden_size": -1}, RuntimeError, "hidden_size must be at least 0, got -1"),
        ({"input_size": -1}, RuntimeError, "input_size must be at least 0, got -1"),
        ({"hidden_size": 2.5}, TypeError, "hidden_size must be of type int, got float"),
    ],
)
@pytest.mark.parametrize("name", CELLS)
def test_cells_refuse_arguments_as_torch_does(
    name: str, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    refused(lambda: getattr(carousel, name)(**(SIZES | options)), kind, message)
    with pytest.raises(kind):
        getattr(nn, name)(**(SIZES | options))


CALLS = [
    (X, None, ValueError, "{} expects input of 1 or 2 axes, got 3"),
    (zeros(B, D + 1), None, RuntimeError, "input has 5 features, the layer expects 4"),
    (
        X[0].double(),
        None,
        RuntimeError,
        "input is torch.float64, the layer torch.float32; convert one by .to()",
    ),
    (X[0], zeros(B, 1, 1, H), ValueError, "h_0 must have 1 or 2 axes, got 4"),
    (
        X[0],
        zeros(B, H + 1),
        RuntimeError,
        "h_0 has shape (3, 7); this layer and input need (3, 6)",
    ),
    (X[0], zeros(1, H), RuntimeError, "h_0 has shape (1, 6); this layer and input need (3, 6)"),
    (X[0], zeros(H), RuntimeError, "h_0 has shape (6,); this layer and input need (3, 6)"),
    (X[0, 0], zeros(1, H), RuntimeError, "h_0 has shape (1, 6); this layer and input need (6,)"),
    (
        X[0],
        zeros(B, H, dtype=torch.float64),
        RuntimeError,
        "h_0 is torch.float64, the layer torch.float32; convert one by .to()",
    ),
]


@pytest.mark.parametrize(("x", "h", "kind", "message"), CALLS)
@pytest.mark.parametrize("name", CELLS)
def test_cells_refuse_calls_as_torch_does(
    name: str, x: Tensor, h: Tensor | None, kind: type[Exception], message: str
) -> None:
    theirs, ours = twins(name, D, H)
    hx = None if h is None else states(name, h)
    refused(lambda: ours(x, hx), kind, message.format(name))
    with pytest.raises(kind):
        theirs(x, hx)


def test_cells_refuse_states_of_other_make() -> None:
    h = zeros(B, H)
    for module in (carousel, nn):
        with pytest.raises(TypeError):
            module.LSTMCell(D, H)(X[0], zeros(2, B, H))
        for count in (1, 3):
            with pytest.raises(RuntimeError):
                module.LSTMCell(D, H)(X[0], (h,) * count)
    with pytest.raises(TypeError, match="hx must be a tensor, got tuple"):
        carousel.GRUCell(D, H)(X[0], (h,))
